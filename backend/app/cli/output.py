"""What commands print: results on standard output, as a table or as JSON; everything else on standard error."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import typer
from pydantic import BaseModel

from app.core.errors import AppError, InvalidInput

Columns = Mapping[str, str]
"""Of a table: heading → field of the API's reply."""


def print_list(items: Sequence[BaseModel], columns: Columns, *, as_json: bool) -> None:
    if as_json:
        print_json([item.model_dump(mode="json") for item in items])
        return
    typer.echo(table(list(columns), [[getattr(item, field) for field in columns.values()] for item in items]))


def print_one(item: BaseModel, columns: Columns, *, as_json: bool) -> None:
    if as_json:
        print_json(item.model_dump(mode="json"))
    else:
        print_list([item], columns, as_json=False)


def print_secret(item: BaseModel, secret: str, explanation: str, *, as_json: bool) -> None:
    """The secret and nothing else on standard output, for `TOKEN=$(…)`; with `as_json` all of `item`, where it is."""
    note(explanation)
    if as_json:
        print_json(item.model_dump(mode="json"))
    else:
        typer.echo(secret)


def print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2))


def note(text: str) -> None:
    """Tell a person something that is no result."""
    typer.echo(text, err=True)


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Aligned columns; what others have chosen, such as a name, cannot steer the terminal."""
    lines = [list(headings), *([cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def cell(value: Any) -> str:
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        case dict():
            return printable(json.dumps(value, ensure_ascii=False))
        case list():
            return printable(", ".join(map(str, value))) or "-"
    return printable(str(value))


def printable(text: str) -> str:
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def sentence(refusal: AppError) -> str:
    """What the API would answer; a field has the name that its option has."""
    if isinstance(refusal, InvalidInput):
        said = (f"{error.pointer.lstrip('/')}: {error.message}".removeprefix(": ") for error in refusal.errors)
        return f"{'; '.join(said).rstrip('.')}."
    return str(refusal)
