"""The options that say how a CSV file is to be read, and its text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from service.errors import InvalidError
    from service.text.csv_format import Format

Columns = Annotated[
    str, typer.Option(help="Names here for columns of the file, such as `reward=click,propensity=pscore`.")
]
LeaveOut = Annotated[str, typer.Option(help="Columns of the file that are not read, such as `comment,score_*`.")]
Delimiter = Annotated[str, typer.Option(help="Character between cells, or `tab`; else as the header looks.")]
Decimal = Annotated[str, typer.Option(help="Decimal sign, `.` or `,`; else as the numbers look.")]
Encoding = Annotated[str, typer.Option(help="Encoding, such as `cp1252`; else UTF-8, or what a byte order mark says.")]


def format_of(delimiter: str, decimal: str, columns: str, leave_out: str, category: str = "") -> Format:
    """The options together; lists are given with commas."""
    from service.text.csv_format import Format

    pairs = pairs_of(columns, "--columns")
    return Format(delimiter, decimal, pairs, tuple(split(leave_out)), tuple(split(category)))


def pairs_of(given: str, option: str, what: str = "COLUMN") -> dict[str, str]:
    """`a=b,c=d` of an option."""
    pairs: dict[str, str] = {}
    for pair in split(given):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not name or not value:
            raise typer.BadParameter(f"{pair!r} is not NAME={what}", param_hint=option)
        if name in pairs:
            raise typer.BadParameter(f"{name!r} is given twice", param_hint=option)
        pairs[name] = value
    return pairs


def text_of(path: Path, encoding: str) -> str:
    """The text of a file; what is wrong with it ends the command with exit code 1."""
    from service.errors import InvalidError
    from service.text.encoding import decoded, file_bytes

    try:
        return decoded(file_bytes(path), encoding, "say which encoding it has, such as --encoding cp1252")
    except InvalidError as error:
        raise refused(path, error) from None


def document_of(path: Path) -> str:
    """The same of a YAML or JSON file."""
    from service.errors import InvalidError
    from service.text.document import read

    try:
        return read(path)
    except InvalidError as error:
        raise refused(path, error) from None


def refused(path: Path, error: InvalidError) -> typer.Exit:
    """Says what is wrong with a file; to be raised."""
    for wrong in error.violations:
        typer.echo(wrong.of_file(str(path)), err=True)
    return typer.Exit(1)


def split(given: str) -> list[str]:
    """The parts of a list with commas."""
    return [part.strip() for part in given.split(",") if part.strip()]
