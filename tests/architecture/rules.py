"""The rules. Each takes a repository and gives what breaks it, one sentence a place; empty where it holds."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator

from tests.architecture import table
from tests.architecture.repository import SHIPPED, File, Repository, below

Rule = Callable[[Repository], list[str]]


def imports_point_down(repository: Repository) -> list[str]:
    """A package imports from the packages that the table gives it."""
    return [
        f"{place}: {name} may not import from {target}"
        for name, targets in repository.arrows.items()
        for target, place in targets.items()
        if name in table.PACKAGES and target not in table.PACKAGES[name]
    ]


def the_table_is_ordered(repository: Repository) -> list[str]:
    """A package may import only from packages above it in the table, so that there is no circle."""
    order = {name: at for at, name in enumerate(table.PACKAGES)}
    return [
        f"{name} stands before {target} in the table"
        for name, may in table.PACKAGES.items()
        for target in may
        if order.get(target, len(order)) >= order[name]
    ]


def the_table_is_the_tree(repository: Repository) -> list[str]:
    """Every package is in the table, and everything in the table is in the tree."""
    wrong = [f"{name} is not in the table" for name in repository.packages if name not in table.PACKAGES]
    for name, may in table.PACKAGES.items():
        if name not in repository.packages:
            wrong.append(f"there is no {name}")
            continue
        wrong += [f"{name} no longer imports from {one}" for one in may if one not in repository.arrows[name]]
    return wrong


def libraries_stay_where_they_are(repository: Repository) -> list[str]:
    """Only the places of the table know a library."""
    return [
        f"{file.path}:{one.line} imports {one.name}"
        for libraries, places in table.LIBRARIES.items()
        for file in repository.shipped
        if not below(file.module, places)
        for one in file.imports
        if below(one.name, libraries)
    ]


def libraries_are_known_where_it_says(repository: Repository) -> list[str]:
    """Every place that may know a library exists, and does."""
    return [
        f"{place} does not import {libraries[0]}"
        for libraries, places in table.LIBRARIES.items()
        for place in places
        if not any(
            below(one.name, libraries)
            for file in repository.shipped
            if below(file.module, (place,))
            for one in file.imports
        )
    ]


def bandits_are_pure(repository: Repository) -> list[str]:
    """The numerics import numerics."""
    return [
        f"{file.path}:{one.line} imports {one.name}"
        for file in repository.shipped
        if file.package == "bandits"
        for one in file.imports
        if one.name.split(".")[0] not in table.BANDITS_MAY
    ]


def nothing_shipped_needs_the_tests(repository: Repository) -> list[str]:
    """What is installed does without what is not."""
    return [
        f"{file.path}:{one.line} imports {one.name}"
        for file in repository.shipped
        for one in file.imports
        if below(one.name, table.DEVELOPMENT)
    ]


def only_terminals_print(repository: Repository) -> list[str]:
    """A server writes to its log."""
    return [
        f"{file.path}:{node.lineno} prints"
        for file in repository.shipped
        if not below(file.module, table.PRINTS)
        for node in ast.walk(file.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]


def private_names_stay_private(repository: Repository) -> list[str]:
    """`_x` is used in its own module; a module `_x` in its own package."""
    modules = {file.module for file in repository.shipped}
    wrong = []
    for file in repository.shipped:
        own = [one for one in file.imports if one.name.split(".")[0] in SHIPPED]
        wrong += [f"{file.path}:{one.line} imports {one.name}" for one in own if trespasses(file, one.name, modules)]
        bound = {one.name.rpartition(".")[2] for one in own}
        wrong += [
            f"{file.path}:{node.lineno} uses {node.value.id}.{node.attr}"
            for node in ast.walk(file.tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
            if private(node.attr) and node.value.id in bound
        ]
    return wrong


def functions_take_few_arguments(repository: Repository) -> list[str]:
    """At most MAX_ARGUMENTS, `self` not counted; the table has the exceptions, none of them in vain."""
    many = {
        name: (f"{file.path}:{node.lineno}", count)
        for file in repository.shipped
        for name, node in functions(file)
        if (count := len(arguments(node))) > table.MAX_ARGUMENTS
    }
    wrong = [
        f"{place}: {name.rpartition('.')[2]} takes {count} arguments"
        for name, (place, count) in many.items()
        if name not in table.MANY_ARGUMENTS
    ]
    return wrong + [f"{name} is no exception" for name in table.MANY_ARGUMENTS if name not in many]


def files_fit_in_a_head(repository: Repository) -> list[str]:
    """At most MAX_LINES lines."""
    texts = {file.path: file.text for file in repository.files} | repository.scripts
    lengths = {path: len(text.splitlines()) for path, text in texts.items()}
    return [f"{path} has {length} lines" for path, length in lengths.items() if length > table.MAX_LINES]


def folders_fit_in_a_look(repository: Repository) -> list[str]:
    """So many modules in a folder and no more."""
    counts = Counter(file.folder for file in repository.files if not file.path.endswith("/__init__.py"))
    return [
        f"{folder} has {count} modules"
        for folder, count in counts.items()
        if count > table.MAX_FILES.get(folder.split("/")[0], count)
    ]


def packages_say_what_they_are(repository: Repository) -> list[str]:
    """In one sentence, which docs/packages.svg shows."""
    return [
        f"{name} says {sentence!r}"
        for name, sentence in repository.packages.items()
        if not sentence.endswith(".") or ". " in sentence or len(sentence) > 120
    ]


def tests_share_through_the_rig(repository: Repository) -> list[str]:
    """What two test files need is in tests/rig or tests/oracles: none imports another, or a conftest."""
    return [
        f"{file.path}:{one.line} imports {one.name}"
        for file in repository.files
        if file.path.startswith("tests/")
        for one in file.imports
        if any(word.startswith("test_") or word == "conftest" for word in one.name.split(".")[:-1])
    ]


def unit_tests_mirror_the_packages(repository: Repository) -> list[str]:
    """A folder of tests/unit has the name of a package."""
    known = {name.rpartition(".")[2] for name in repository.packages} | {"loadtest"}
    folders = {file.folder for file in repository.files if file.path.startswith("tests/unit/")}
    return [f"{folder} is the folder of no package" for folder in sorted(folders) if folder.split("/")[2] not in known]


RULES: tuple[Rule, ...] = (
    imports_point_down,
    the_table_is_ordered,
    the_table_is_the_tree,
    libraries_stay_where_they_are,
    libraries_are_known_where_it_says,
    bandits_are_pure,
    nothing_shipped_needs_the_tests,
    only_terminals_print,
    private_names_stay_private,
    functions_take_few_arguments,
    files_fit_in_a_head,
    folders_fit_in_a_look,
    packages_say_what_they_are,
    tests_share_through_the_rig,
    unit_tests_mirror_the_packages,
)


def trespasses(file: File, name: str, modules: set[str]) -> bool:
    """Whether an imported name is private to another module than this file, or lies in a module private to another package."""
    words = name.split(".")
    at = next((at for at, word in enumerate(words) if private(word)), None)
    if at is None:
        return False
    return ".".join(words[: at + 1]) not in modules or not below(file.module, (".".join(words[:at]),))


def private(word: str) -> bool:
    """`_x`, not `__x__`."""
    return word.startswith("_") and not word.startswith("__")


def functions(file: File) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function with its dotted name."""

    def inside(node: ast.AST, name: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name}.{child.name}", child
            own = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            yield from inside(child, f"{name}.{child.name}" if own else name)  # type: ignore[attr-defined]

    return inside(file.tree, file.module)


def arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """What a caller gives."""
    every = [one.arg for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return [name for name in every if name not in ("self", "cls")]
