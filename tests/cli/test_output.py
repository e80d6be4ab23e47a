"""What people and scripts read."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_type_hints

import pytest
from typer import Typer

from app.cli import cli as application
from app.cli.output import cell, sentence, table
from app.core.errors import FieldError, InvalidInput
from tests.cli.support import CommandLine
from tests.support.identity import add_user, execute


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        ("", "-"),
        ([], "-"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (["read", "write"], "read, write"),
        ({"name": "Ä"}, '{"name": "Ä"}'),
        (datetime(2030, 1, 31, 1, 2, 3, 456, tzinfo=timezone(timedelta(hours=2))), "2030-01-30 23:02:03"),
        ("Ann Ä 蟻", "Ann Ä 蟻"),
        ("a\nb\x1b[31m\u202e\x9b", r"a\nb\x1b[31m\u202e\x9b"),
        ({"name": "\x1b]0;"}, r'{"name": "\u001b]0;"}'),
    ],
)
def test_cells(value: Any, shown: str) -> None:
    assert cell(value) == shown


def test_a_table_is_aligned() -> None:
    rows: list[list[Any]] = [[1, "ann@example.test", datetime(2030, 1, 31, tzinfo=UTC)], [22, None, None]]
    assert table(["ID", "E-MAIL", "WHEN"], rows) == (
        "ID  E-MAIL            WHEN\n1   ann@example.test  2030-01-31 00:00:00\n22  -                 -"
    )
    assert table(["ID", "E-MAIL"], []) == "ID  E-MAIL"


def test_a_refusal_names_the_option() -> None:
    faults = [FieldError("/password", "short", "Too short"), FieldError("", "odd", "Odd. Very odd.")]
    assert sentence(InvalidInput(faults)) == "password: Too short; Odd. Very odd."


def test_a_name_cannot_steer_the_terminal(cli: CommandLine, clone_url: str) -> None:
    add_user(clone_url, "ann@example.test")
    execute(clone_url, "UPDATE users SET full_name = :name", name="\x1b[2Jroot\nowner")
    printed = cli("users", "list").printed
    assert r"\x1b[2Jroot\nowner" in printed
    assert printed.count("\n") == 2


def commands(group: Typer, *path: str) -> Iterator[tuple[str, Callable[..., None]]]:
    for command in group.registered_commands:
        assert command.callback
        yield " ".join((*path, command.name or command.callback.__name__)), command.callback
    for inner in group.registered_groups:
        assert isinstance(inner.typer_instance, Typer)
        assert isinstance(inner.name, str)
        yield from commands(inner.typer_instance, *path, inner.name)


NO_SECRETS = {"database", "email", "full_name", "host", "name", "role", "scope", "search", "user", "username"}


def test_no_command_takes_a_secret_as_an_argument() -> None:
    """Others see the arguments of a process, and the shell remembers them."""
    known = dict(commands(application))
    assert len(known) > 25
    assert "users reset-password" in known
    for name, command in known.items():
        assert command.__doc__, name
        texts = {each for each, kind in get_type_hints(command).items() if "str" in str(kind)}
        assert texts <= NO_SECRETS, name
