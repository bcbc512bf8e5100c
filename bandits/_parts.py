"""How Numba compiles a kernel with its parts: each part typed and lowered once, all optimised together, once.

Numba by itself takes every function that a kernel calls through LLVM, to machine code, and then again as a piece of
each function that calls it: at a depth of eight eight times, which was two thirds of the time. Machine code of a part
is of no use: kernels are what Python calls. So while a kernel is compiled, its parts stay as they were lowered, and LLVM
sees them with the kernel. Nothing of Numba is changed outside that time, and another thread that compiles waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

# The first version of Numba that this was not tested with (pyproject.toml says the same).
UNTESTED = (0, 69)
# What is reached for inside Numba.
_HOOKS = {
    "core.dispatcher.Dispatcher": ("_compile_for_args", "compile", "disable_compile", "add_overload"),
    "core.codegen.CPUCodeLibrary": (
        "finalize", "_raise_if_finalized", "_get_module_for_linking", "_finalize_dynamic_globals",
    ),
    "core.cpu.CPUContext": ("get_executable",),
    "core.registry.cpu_target": ("typing_context",),
    "core.compiler_lock": ("global_compiler_lock",),
}  # fmt: skip


def _inside(path: str) -> Any:
    """What is there in Numba; None where nothing is."""
    found: Any = numba
    for name in path.split("."):
        found = getattr(found, name, None)
    return found


def obstacle() -> str:
    """Why kernels are compiled at import, all at once, rather than at their first call; empty where they are not."""
    if tuple(numba.version_info[:2]) >= UNTESTED:
        return f"numba {numba.__version__} is not a tested version; those below {UNTESTED[0]}.{UNTESTED[1]} are"
    lacking = [name for path, names in _HOOKS.items() for name in names if not hasattr(_inside(path), name)]
    return f"numba {numba.__version__} has no {', '.join(lacking)}" if lacking else ""


class Compiling:
    """While it lasts this thread alone compiles, one kernel, and what the kernel calls is left as it was lowered."""

    def __init__(self) -> None:
        self._lock: Any = _inside("core.compiler_lock.global_compiler_lock")
        self._callers: Any = _inside("core.registry.cpu_target").typing_context.callstack  # typed, and not yet lowered
        self._library: Any = _inside("core.codegen.CPUCodeLibrary")
        self._context: Any = _inside("core.cpu.CPUContext")
        self._dispatcher: Any = _inside("core.dispatcher.Dispatcher")
        self._own: tuple[Any, ...] = ()

    def __enter__(self) -> None:
        self._lock.acquire()
        finalize, executable = self._library.finalize, self._context.get_executable
        add = self._dispatcher.add_overload
        self._own = (finalize, executable, add)
        self._library.finalize = self._for_parts(finalize, _link)
        self._context.get_executable = self._for_parts(executable, lambda *_: Part())
        self._dispatcher.add_overload = _add(add)

    def __exit__(self, *_: object) -> None:
        self._library.finalize, self._context.get_executable, self._dispatcher.add_overload = self._own
        self._lock.release()

    def _for_parts(self, whole: Callable[..., Any], part: Callable[..., Any]) -> Callable[..., Any]:
        def choose(*args: Any) -> Any:
            return part(*args) if len(self._callers) else whole(*args)

        return choose


class Part:
    """What stands for the machine code of a part, which has none: Numba looks a function up by it."""


def _link(library: Any) -> None:
    """As CPUCodeLibrary.finalize, without optimising and without machine code."""
    library._raise_if_finalized()  # noqa: SLF001 - see the module
    for other in dict.fromkeys(library._linking_libraries):  # noqa: SLF001
        library._reload_init.update(other._reload_init)  # noqa: SLF001
        library._final_module.link_in(other._get_module_for_linking(), preserve=True)  # noqa: SLF001
    library._finalize_dynamic_globals()  # noqa: SLF001
    library._finalized = True  # noqa: SLF001


def _add(whole: Callable[..., None]) -> Callable[..., None]:
    """As Dispatcher.add_overload; a part is not to be called from Python."""

    def add(dispatcher: Any, compiled: Any) -> None:
        if isinstance(compiled.entry_point, Part):
            dispatcher.overloads[tuple(compiled.signature.args)] = compiled
        else:
            whole(dispatcher, compiled)

    return add
