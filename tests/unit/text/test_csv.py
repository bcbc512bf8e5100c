"""CSV as people's programs write it: rows as a spreadsheet numbers them, and whatever dialect read or refused with the cause."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.errors import InvalidError
from service.text.csv_format import Format
from service.text.csv_table import Table, parts, read
from service.text.encoding import decoded, text_file

NEEDED = ("arm", "reward")
cells = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\r") | st.sampled_from('",;\t\n '), max_size=8
)


def problems(call: Callable[[], object]) -> list[str]:
    with pytest.raises(InvalidError) as caught:
        call()
    return [str(violation) for violation in caught.value.violations]


def numbers(text: str, form: Format | None = None, name: str = "reward") -> list[float]:
    """A column of numbers; InvalidError where it is none."""
    table = read(text, NEEDED, form)
    found: list[float] = table.numbers(name).tolist()
    table.problems.check()
    return found


@given(
    st.lists(st.tuples(cells.filter(str.strip), st.booleans()), min_size=1, max_size=8),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.integers(0, 3),
)
@settings(max_examples=300, deadline=None)
def test_every_cell_comes_back_and_its_row_is_that_of_a_spreadsheet(
    rows: list[tuple[str, bool]], delimiter: str, end: str, encoding: str, above: int
) -> None:
    made = io.StringIO(newline="")
    made.write(end * above)
    writer = csv.writer(made, delimiter=delimiter, lineterminator=end)
    writer.writerow(["arm", "reward"])
    at = above + 1
    places = []
    for cell, blank in rows:
        if blank:
            made.write(end)
            at += 1
        writer.writerow([cell, "1"])
        at += 1
        places.append(at)
    data = made.getvalue().encode(encoding)
    table = read(decoded(data), NEEDED, names=["arm"])
    assert table.columns["arm"] == [cell.strip() for cell, _ in rows]
    for index in range(table.rows):
        table.problems.add(index, "arm", "x")
    assert [said.split(",")[0] for said in problems(table.problems.check)] == [f"row {place}" for place in places]


def test_rows_are_numbered_whatever_is_blank_or_quoted() -> None:
    text = 'arm,reward\n\n"a\nb\n\nc",1\n,,\n  \nx,oops\n'
    assert problems(lambda: numbers(text.replace(",,", ","))) == ['row 6, reward: must be a finite number, not "oops"']
    assert problems(lambda: read('arm,reward\nx,1\n\ny,"1\n', NEEDED)) == [
        "row 4: is no CSV: a quotation mark is opened here and never closed"
    ]
    assert problems(lambda: read("arm,reward\n\nx\n", NEEDED)) == ["row 3, cells: has 1, the header has 2"]


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([";", "\t", "|", ","]))
@settings(max_examples=200, deadline=None)
def test_decimal_commas_are_read_or_refused(value: float, delimiter: str) -> None:
    written = repr(value).replace(".", ",")
    text = f'arm{delimiter}reward\nx{delimiter}"{written}"\ny{delimiter}"0,5"\n'
    assert numbers(text) == [value, 0.5]
    assert numbers(text, Format(decimal=",")) == [value, 0.5]
    assert any(
        '(for decimal commas say --decimal ",")' in one for one in problems(lambda: numbers(text, Format(decimal=".")))
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("arm;reward\nx;1,234\n", 'row 2, reward: "1,234" may be 1.234 or 1234: say --decimal ","'),
        ("arm;reward;share\nx;1,5;0.5\n", 'row 2, reward: "1,5" has a decimal comma, "share" has decimal points'),
        ("arm;reward\nx;1.234,5\n", 'row 2, reward: must be a finite number, not "1.234,5"'),
        ("arm:reward\nx:1\n", "column arm: is missing; the file has arm:reward"),
        ("arm,Reward\nx,1\n", "column reward: is missing; the file has arm, Reward; say which it is: --columns reward=Reward"),
        ("arm,reward,\nx,1,2\n", "row 1: column 3 has no name"),
        ("a\0r\0m\0", "file: has zero bytes, so it is no text, or UTF-16: say --encoding utf-16-le"),
        ("arm,reward\nx,1e999\n", 'row 2, reward: must be a finite number, not "1e999"'),
        ("arm,reward\nx,NaN\ny,NA\nz,\n", "row 4, reward: must be a finite number, not nothing"),
        ("arm,reward\nx," + "9" * 2_000_000, "row 2: is no CSV: a cell has more than 1,048,576 characters"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_cause(text: str, said: str) -> None:
    found = problems(lambda: numbers(text))
    assert any(one.startswith(said) for one in found), found


@pytest.mark.parametrize(
    "text",
    [
        "arm,reward,\nx,1,\n", ",arm,reward\n0,x,1\n", "Unnamed: 0,arm,reward\n7,x,1\n", "sep=;\narm;reward\nx;1\n",
        "\ufeffarm,reward\rx,1\r", '"arm" , "reward"\n'.replace('" ', '"').replace(' "', '"') + "x,1", "reward|arm\n1|x\n",
    ],
)  # fmt: skip
def test_how_programs_write_it_makes_no_difference(text: str) -> None:
    table = read(text, NEEDED)
    assert sorted(table.columns) == ["arm", "reward"]
    assert (table.columns["arm"], numbers(text)) == (["x"], [1.0])


def test_the_line_that_names_the_delimiter_is_no_row() -> None:
    assert problems(lambda: numbers("sep=;\narm;reward\nx;no\n")) == [
        'row 2, reward: must be a finite number, not "no"'
    ]


def test_columns_have_other_names_and_are_left_out() -> None:
    text = "id,item,click,score_1,score_2,reward\n9,x,1,2,3,8\n"
    form = Format(columns={"arm": "item", "reward": "click", "unit": "id"}, leave_out=("score_*", "reward"))
    assert read(text, NEEDED, form).columns == {"arm": ["x"], "reward": ["1"], "unit": ["9"]}
    everything = Format(columns={"arm": "item"}, leave_out=("*",))
    assert sorted(read(text, NEEDED, everything).columns) == ["arm", "reward"]

    def refused(**given: object) -> list[str]:
        return problems(lambda: read(text, NEEDED, Format(**given)))  # type: ignore[arg-type]

    assert refused(columns={"arm": "items"}) == ['columns arm: the file has no column "items"; did you mean "item"?']
    assert refused(columns={"arm": "item", "reward": "click"}) == [
        'column reward: would be the file\'s "click" and its own "reward": leave that one out'
    ]
    assert refused(columns={"arm": "item"}, leave_out=("scores",))[0].startswith(
        'leave-out: the file has no column "scores"'
    )
    assert refused(columns={"arm": "item"}, categories=("zip",)) == ['category: there is no column "zip"']
    assert refused(delimiter="||") == ['delimiter: must be one character or the word tab, not "||"']
    assert refused(decimal="x") == ['decimal: must be "." or ",", not "x"']


@given(st.text(max_size=60) | st.lists(cells, max_size=8).map(",".join))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_table_or_refused(text: str) -> None:
    for body in (text, "arm,reward\n" + text, "arm;reward\n" + text):
        try:
            table = read(body, NEEDED)
        except InvalidError:
            continue
        assert isinstance(table, Table)
        assert all(len(column) == table.rows for column in table.columns.values())


@given(
    st.lists(st.lists(cells, min_size=1, max_size=3), max_size=12),
    st.integers(1, 5),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_read_in_parts_is_the_file(tmp_path: Path, rows: list[list[str]], size: int, encoding: str) -> None:
    made = io.StringIO(newline="")
    csv.writer(made).writerows([["arm", "reward"], *rows])
    path = tmp_path / "some.csv"
    path.write_bytes(made.getvalue().encode(encoding))
    with text_file(path) as file:
        found = list(parts(file, NEEDED, Format(delimiter=","), size, numeric=()))
    whole = [row for row in rows if any(map(str.strip, row))]
    assert [cells for part in found for _, cells in part.rows] == [row for row in whole if len(row) == 2]
    assert sum(len(part.broken) for part in found) == sum(len(row) != 2 for row in whole)
    assert all(len(part.rows) <= size for part in found)
    for part in found:
        assert part.table.columns["arm"] == [cells[0].strip() for _, cells in part.rows]


def test_a_broken_row_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    path.write_text('arm,reward\na,1\n"b"x,2\nc\nd,4\n"e,5\n')
    with text_file(path) as file:
        given = parts(file, NEEDED, Format(), 3)
        part = next(given)
        assert part.table.columns["arm"] == ["a", "d"]
        assert part.broken == [(3, "is no CSV: ',' expected after '\"'"), (4, "has 1, the header has 2")]
        assert problems(lambda: next(given)) == ["row 6: is no CSV: a quotation mark is opened here and never closed"]


def test_the_decimal_sign_of_the_first_part_is_that_of_all(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    path.write_text("arm;reward\na;1,5\nb;2,5\nc;3\nd;4.5\ne;x\n")
    with text_file(path) as file:
        found = list(parts(file, NEEDED, Format(), 2, numeric=("reward",)))
    assert [part.table.numbers("reward").tolist() for part in found[:1]] == [[1.5, 2.5]]
    for part in found[1:]:
        part.table.optional_numbers("reward")
    assert [list(part.table.problems.reasons()) for part in found] == [[], [1], [0]]


def test_what_does_not_decode_is_said(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    path.write_bytes("arm,reward\nZürich,1\n".encode("cp1252"))

    def read_it(encoding: str) -> None:
        with text_file(path, encoding) as file:
            list(parts(file, NEEDED, Format(), 2))

    assert problems(lambda: read_it("")) == ['file: is not UTF-8: byte 0xfc after "arm,reward\nZ"; save it as UTF-8']
    assert problems(lambda: read_it("nothing")) == ['encoding: "nothing" is not the name of an encoding such as cp1252']
    read_it("cp1252")
