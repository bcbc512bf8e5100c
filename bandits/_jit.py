"""The one place that says how kernels are compiled.

`cache`: a kernel is compiled once per machine, not once per process (seconds against milliseconds). Numba watches
only the file a kernel stands in, so servers and tests use a cache that is named after all files (service/process/kernel_cache.py).
`error_model="numpy"`: a division by zero gives inf or nan, as in numpy, instead of a test and branch per division.
`nogil`: a kernel that runs longer than a thread switch lets the threads that answer calls go on meanwhile.
Kernels take their arrays one by one, however many: Numba takes a writable array for a read-only one only as an argument
of its own, not inside a named tuple, and to unpack such a tuple costs as much again as the call.
No fastmath: two servers that fold the same log must get the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
from numba import types
from numba.extending import intrinsic

from bandits._parts import Compiling, obstacle

F = TypeVar("F", bound=Callable[..., Any])

# Argument types of entry points. An array from np.frombuffer is read-only, and a kernel declared for read-only
# arrays takes writable ones too; the other way round it would be compiled again, in the middle of serving.
FLOATS = types.Array(types.float64, 1, "C", readonly=True)
FLOATS2 = types.Array(types.float64, 2, "C", readonly=True)
FLOATS3 = types.Array(types.float64, 3, "C", readonly=True)
INTS = types.Array(types.int64, 1, "C", readonly=True)
INTS2 = types.Array(types.int64, 2, "C", readonly=True)
WORDS = types.Array(types.uint64, 1, "C", readonly=True)
CELLS = types.Array(types.int16, 1, "C", readonly=True)
CELLS2 = types.Array(types.int16, 2, "C", readonly=True)
FLOATS_OUT = types.Array(types.float64, 1, "C")
FLOATS2_OUT = types.Array(types.float64, 2, "C")
FLOATS3_OUT = types.Array(types.float64, 3, "C")
INTS3 = types.Array(types.int64, 3, "C", readonly=True)
INTS_OUT = types.Array(types.int64, 1, "C")
INTS2_OUT = types.Array(types.int64, 2, "C")
INTS3_OUT = types.Array(types.int64, 3, "C")
INTS4_OUT = types.Array(types.int64, 4, "C")
WORD = types.uint64
INT = types.int64
FLOAT = types.float64


def jit(function: F, *, inside: bool = False) -> F:
    """Compile a part of kernels; like them it keeps the interpreter lock unless the kernel says otherwise.

    Called from Python, as tests do, it is compiled by itself.
    """
    alone = numba.njit(cache=True, error_model="numpy")(function)
    if obstacle():
        return cast("F", alone)
    options: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    part: Any = numba.njit(error_model="numpy", forceinline=inside, **options)(function)
    part._compile_for_args = lambda *_: alone  # noqa: SLF001 - the dispatcher calls what it gets
    # Compiled for another one that is called from Python, it has no way in from there either: to let the dispatcher know it
    # would be to have the next such call jump to nowhere.
    part.add_overload = lambda compiled: part.overloads.update({tuple(compiled.signature.args): compiled})
    return cast("F", part)


def inlined(function: F) -> F:
    """Compile a part that every choice passes once: it becomes one with what calls it, without a call and its arguments."""
    return jit(function, inside=True)


def _uncounted(_: Any, array: Any) -> Any:
    """The same array without a count of who holds it: its slices and the parts that it is given to need not count either.

    Two atomic operations for each were a fifth of a choice. Only for what a part was given: its caller holds that meanwhile,
    while a kernel's own array may be gone once its name is not used any more.
    """

    def made(context: Any, builder: Any, _: Any, args: Any) -> Any:
        found = context.make_array(array)(context, builder, args[0])
        found.meminfo, found.parent = found.meminfo.type(None), found.parent.type(None)
        return found._getvalue()  # noqa: SLF001 - as Numba's own do

    return array(array), made


borrowed: Any = intrinsic(_uncounted)  # from an array to an array


class Kernel(NamedTuple):
    """A kernel that Python calls. `ready` compiles it or loads it from the cache, if that is not done yet."""

    module: str
    name: str
    ready: Callable[[], object]


KERNELS: list[Kernel] = []  # in the order in which their modules were imported
waits: list[Callable[[str, str], None]] = []  # called with module and name ahead of a compilation: others may be at it


def entry(*signature: types.Type, nogil: bool = False) -> Callable[[F], F]:
    """Declare a kernel that Python calls: compiled at its first call (not at import), for exactly these types.

    So no call can start a compilation for types that nobody warmed, and a Python int up to 2^64 - 1 fits a WORD.
    Numba has no lazy form of explicit signatures; the hook is the method that its dispatcher calls on a miss. Where
    `obstacle` speaks against that, the kernel is compiled here and now, as Numba's documentation has it.
    """
    if obstacle():
        return cast("Callable[[F], F]", numba.njit(signature, cache=True, error_model="numpy", nogil=nogil))

    def wrap(function: F) -> F:
        dispatcher = numba.njit(cache=True, error_model="numpy", nogil=nogil)(function)

        compiled: list[Any] = []

        def first(*args: Any) -> Any:
            for wait in waits:
                wait(function.__module__, function.__qualname__)
            with Compiling():  # several threads may make the first call at once
                if not compiled:
                    compiled.append(dispatcher.compile(signature))
                    dispatcher.disable_compile()
            return compiled[0]  # the dispatcher calls it with the arguments

        KERNELS.append(Kernel(function.__module__, function.__qualname__, first))
        dispatcher._compile_for_args = first  # type: ignore[attr-defined]  # noqa: SLF001 - see the docstring
        return cast("F", dispatcher)

    return wrap
