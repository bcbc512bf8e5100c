"""The picture in docs/internals.md shows the imports as they are."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from tests.architecture.__main__ import HIDDEN, PICTURE, picture
from tests.architecture.picture import draw, placed, reduced
from tests.architecture.repository import Repository
from tests.rig.programs import ROOT

HERE = Repository.read(ROOT)


def test_the_picture_is_current() -> None:
    assert PICTURE.read_text() == picture(HERE), "`python -m tests.architecture` draws it anew"
    assert "(packages.svg)" in (ROOT / "docs/internals.md").read_text()


def test_every_package_is_in_it_with_its_sentence() -> None:
    texts = [text.text or "" for text in ET.fromstring(PICTURE.read_text()).iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314
    assert {name for name in HERE.packages if name not in HIDDEN} <= set(texts)
    assert all(words in " ".join(texts) for name, words in HERE.packages.items() if name not in HIDDEN)


def test_a_new_import_changes_it() -> None:
    planted = HERE.planted({"service/text/planted.py": "import service.logs\n"})
    assert picture(planted) != picture(HERE)


def test_no_two_boxes_share_a_place() -> None:
    arrows = {name: set(HERE.arrows[name]) for name in HERE.packages}
    boxes = placed(arrows, reduced(arrows))
    assert len(set(boxes.values())) == len(boxes) == len(arrows)


@pytest.mark.parametrize(
    ("arrows", "left"),
    [
        ({"a": {"b", "c"}, "b": {"c"}, "c": set()}, {"a": {"b"}, "b": {"c"}, "c": set()}),
        ({"a": {"b", "c"}, "b": set(), "c": set()}, {"a": {"b", "c"}, "b": set(), "c": set()}),
    ],
)
def test_what_follows_is_left_out(arrows: dict[str, set[str]], left: dict[str, set[str]]) -> None:
    assert reduced(arrows) == left
    assert draw(dict.fromkeys(arrows, "x"), arrows).count("marker-end") == sum(map(len, left.values()))
