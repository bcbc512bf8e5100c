"""The repository as the rules see it: its files, what each imports, and the package each belongs to."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

SHIPPED = ("bandits", "service", "loadtest")
CLIENT = "service/client/python/"  # a distribution of its own, with lever_client in it
GENERATED = ("service/pb/lever/", f"{CLIENT}lever_client/pb/lever/")


@dataclass(frozen=True)
class Import:
    """One name that a file imports: `name` is dotted and absolute, and may be a module or something inside one."""

    line: int
    name: str


@dataclass(frozen=True)
class File:
    """A Python file; `path` is relative to the repository."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """Parsed."""
        return ast.parse(self.text, self.path)

    @property
    def module(self) -> str:
        """Its dotted name."""
        return self.path.removeprefix(CLIENT).removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def package(self) -> str:
        """The package of the table that it belongs to."""
        return package_of(self.module)

    @property
    def folder(self) -> str:
        """Where it lies."""
        return self.path.rpartition("/")[0]

    @property
    def sentence(self) -> str:
        """Its docstring's first paragraph on one line."""
        return " ".join((ast.get_docstring(self.tree) or "").partition("\n\n")[0].split())

    @cached_property
    def imports(self) -> list[Import]:
        """Everything it imports anywhere: in functions, under TYPE_CHECKING, relatively."""
        return list(self._imports())

    def _imports(self) -> Iterator[Import]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (Import(node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    base = ".".join([*self.path.split("/")[: -node.level], *filter(None, [base])])
                # `from service import rpc` names a module as much as `import service.rpc` does.
                yield from (Import(node.lineno, f"{base}.{alias.name}") for alias in node.names)


class Repository:
    """Every Python file that a person wrote, and every Lua script."""

    def __init__(self, files: Mapping[str, str]) -> None:
        """Path to text."""
        self._files = {path: File(path, text) for path, text in sorted(files.items()) if path.endswith(".py")}
        self.scripts = {path: text for path, text in files.items() if path.endswith(".lua")}

    @classmethod
    def read(cls, root: Path) -> Repository:
        """What lies there; of the generated code only the folder."""
        found = [path for top in (*SHIPPED, "tests") for kind in ("*.py", "*.lua") for path in (root / top).rglob(kind)]
        texts = {str(path.relative_to(root)): path.read_text() for path in found}
        return cls({path: text for path, text in texts.items() if not path.startswith(GENERATED)})

    def planted(self, files: Mapping[str, str]) -> Repository:
        """The same with these files written over it."""
        made = Repository(files)
        made._files = dict(sorted({**self._files, **made._files}.items()))
        made.scripts |= {path: text for path, text in self.scripts.items() if path not in files}
        return made

    @property
    def files(self) -> list[File]:
        """All of Python."""
        return list(self._files.values())

    @cached_property
    def shipped(self) -> list[File]:
        """What is installed."""
        return [file for file in self.files if file.path.split("/")[0] in SHIPPED]

    @cached_property
    def packages(self) -> dict[str, str]:
        """Every package, and module beside the packages, with its sentence."""
        names = sorted({file.package for file in self.shipped})
        sentences = {file.module: file.sentence for file in self.shipped}
        return {name: sentences.get(name, "") for name in names}

    @cached_property
    def arrows(self) -> dict[str, dict[str, str]]:
        """Package to the packages it imports from, each with one place that does."""
        found: dict[str, dict[str, str]] = {name: {} for name in self.packages}
        for file in self.shipped:
            for one in file.imports:
                target = package_of(one.name)
                if target in self.packages and target != file.package:
                    found[file.package].setdefault(target, f"{file.path}:{one.line}")
        return found


def package_of(name: str) -> str:
    """The package of a dotted name: `bandits`, else the first two words (`service` alone for what stands in its __init__)."""
    words = name.split(".")
    if words[0] in ("service", "loadtest") and len(words) > 1 and words[1] != "__version__":
        return ".".join(words[:2])
    return words[0]


def below(name: str, modules: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of the modules or inside one."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)
