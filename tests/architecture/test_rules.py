"""The house holds to its rules, and every rule is proven: a violation is planted over the tree, and it is seen."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.architecture import rules, table
from tests.architecture.repository import CLIENT, File, Repository
from tests.architecture.rules import RULES, Rule
from tests.rig.programs import ROOT

HERE = Repository.read(ROOT)
NAMES = list(table.PACKAGES)
MANY = ", ".join("abcdefghi")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rule_holds(rule: Rule) -> None:
    assert rule(HERE) == []


@dataclass
class Planted:
    """Files written over the tree, or another table; and what the rule then says."""

    rule: Rule
    says: str
    files: dict[str, str] = field(default_factory=dict)
    table: dict[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.rule.__name__}: {self.says}"


def place(name: str) -> str:
    """A new module in a package of the table, or that package where it is a single module."""
    folder = f"{CLIENT}{name}" if name == "lever_client" else name.replace(".", "/")
    return f"{folder}/planted.py" if (ROOT / folder).is_dir() else f"{folder}.py"


def upward() -> list[Planted]:
    """For every package of the service and of the load test, an import that it may not have."""
    made = []
    for name in NAMES:
        if name in ("bandits", "service", "loadtest"):
            continue
        target = next(one for one in reversed(NAMES) if one != name and one not in table.PACKAGES[name])
        text = f"from {target} import x\n"
        says = f"{place(name)}:1: {name} may not import from {target}"
        made.append(Planted(rules.imports_point_down, says, {place(name): text}))
    return made


def strangers() -> list[Planted]:
    """For every library of the table, an import where it is not known."""
    return [
        Planted(
            rules.libraries_stay_where_they_are,
            f"service/text/planted.py:3 imports {library}.x",
            {"service/text/planted.py": f"def f():\n    if 1:\n        from {library} import x\n"},
        )
        for libraries in table.LIBRARIES
        for library in libraries
    ]


PLANTED = [
    *upward(),
    *strangers(),
    Planted(
        rules.imports_point_down,
        "service/store/planted.py:1: service.store may not import from service.rpc",
        {"service/store/planted.py": "from .. import rpc\n"},
    ),
    Planted(
        rules.the_table_is_ordered,
        "service.text stands before service.errors in the table",
        table={"PACKAGES": {"service.text": frozenset({"service.errors"}), "service.errors": frozenset()}},
    ),
    Planted(
        rules.the_table_is_ordered, "a stands before b in the table",
        table={"PACKAGES": {"a": frozenset({"b"})}},
    ),
    Planted(rules.the_table_is_the_tree, "service.attic is not in the table", {"service/attic/box.py": ""}),
    Planted(
        rules.the_table_is_the_tree, "there is no service.attic",
        table={"PACKAGES": {**table.PACKAGES, "service.attic": frozenset()}},
    ),
    Planted(
        rules.the_table_is_the_tree, "service.text no longer imports from service.logs",
        table={"PACKAGES": {**table.PACKAGES, "service.text": frozenset({"service.errors", "service.logs"})}},
    ),
    Planted(
        rules.libraries_are_known_where_it_says, "service.attic does not import redis",
        table={"LIBRARIES": {("redis",): ("service.attic",)}},
    ),
    Planted(
        rules.libraries_are_known_where_it_says, "service.text does not import redis",
        table={"LIBRARIES": {("redis",): ("service.text",)}},
    ),
    Planted(rules.bandits_are_pure, "bandits/planted.py:1 imports time", {"bandits/planted.py": "import time\n"}),
    Planted(
        rules.nothing_shipped_needs_the_tests, "loadtest/rig/planted.py:1 imports tests.rig.stage",
        {"loadtest/rig/planted.py": "from tests.rig import stage\n"},
    ),
    Planted(
        rules.only_terminals_print, "service/store/planted.py:2 prints",
        {"service/store/planted.py": "def f():\n    print(1)\n"},
    ),
    Planted(
        rules.private_names_stay_private, "service/rpc/planted.py:1 imports service.store.rows._x",
        {"service/rpc/planted.py": "from service.store.rows import _x\n"},
    ),
    Planted(
        rules.private_names_stay_private, "service/rpc/planted.py:1 imports bandits._jit.jit",
        {"service/rpc/planted.py": "from bandits._jit import jit\n"},
    ),
    Planted(
        rules.private_names_stay_private, "service/rpc/planted.py:2 uses rows._x",
        {"service/rpc/planted.py": "from service.store import rows\nrows._x\n"},
    ),
    Planted(
        rules.functions_take_few_arguments, "service/rpc/planted.py:2: f takes 9 arguments",
        {"service/rpc/planted.py": f"class A:\n    def f(self, {MANY}): ...\n"},
    ),
    Planted(
        rules.functions_take_few_arguments, "service.attic.f is no exception",
        table={"MANY_ARGUMENTS": {"service.attic.f": "because"}},
    ),
    *(
        Planted(rules.files_fit_in_a_head, f"{path} has 351 lines", {path: "\n" * 351})
        for path in ("tests/unit/text/test_planted.py", "service/store/lua/planted.lua", "bandits/planted.py")
    ),
    *(
        Planted(
            rules.folders_fit_in_a_look, f"{folder} has {count} modules",
            {f"{folder}/m{i}.py": "" for i in range(count)},
        )
        for folder, count in (("service/attic", 16), ("loadtest/attic", 16), ("tests/attic", 21))
    ),
    *(
        Planted(
            rules.packages_say_what_they_are, f"service.attic says {text!r}",
            {"service/attic/__init__.py": f'"""{text}"""' if text else ""},
        )
        for text in ("", "No sentence", "Two sentences. Of these.")
    ),
    Planted(
        rules.tests_share_through_the_rig, "tests/rpc/test_planted.py:1 imports tests.rpc.test_tls.x",
        {"tests/rpc/test_planted.py": "from tests.rpc.test_tls import x\n"},
    ),
    Planted(
        rules.tests_share_through_the_rig, "tests/rpc/test_planted.py:1 imports tests.conftest.x",
        {"tests/rpc/test_planted.py": "from tests.conftest import x\n"},
    ),
    Planted(
        rules.unit_tests_mirror_the_packages, "tests/unit/attic is the folder of no package",
        {"tests/unit/attic/test_planted.py": ""},
    ),
]  # fmt: skip


@pytest.mark.parametrize("planted", PLANTED, ids=str)
def test_the_rule_sees_what_is_planted(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in planted.table.items():
        monkeypatch.setattr(table, name, value)
    assert planted.says in planted.rule(HERE.planted(planted.files))


def test_every_rule_is_proven() -> None:
    assert {planted.rule for planted in PLANTED} == set(RULES)


def test_imports_are_seen_wherever_they_stand() -> None:
    text = "from .. import rpc\nfrom . import y\ndef f():\n    import grpc.aio\n"
    assert [one.name for one in File("service/store/x.py", text).imports] == [
        "service.rpc", "service.store.y", "grpc.aio",
    ]  # fmt: skip
