"""Arguments that nobody types, and scripts do: each is refused with a sentence."""

import pytest

from tests.cli.support import CommandLine

pytestmark = pytest.mark.slow

NO_TEXT = "\udcff"
"""What Python makes of the byte FF in an argument."""


@pytest.mark.parametrize(
    "arguments",
    [
        ("users", "list", "--search", NO_TEXT),
        ("users", "list", "--role", NO_TEXT),
        ("users", "show", NO_TEXT),
        ("users", "promote", f"ann{NO_TEXT}@example.test"),
        ("users", "reset-password", NO_TEXT, "--one-time-token"),
        ("tokens", "list", NO_TEXT),
        ("tokens", "create", NO_TEXT, "ci", "--scope", "read"),
        ("sessions", "list", NO_TEXT),
        ("sessions", "revoke", "--user", NO_TEXT),
        ("activity", "list", "--user", NO_TEXT),
        ("activity", "list", "--since", NO_TEXT),
    ],
)
def test_what_is_no_text_is_wrong_usage(arguments: tuple[str, ...], cli: CommandLine) -> None:
    refused = cli.run(*arguments)
    assert (refused.status, refused.printed) == (2, "")
    assert "Invalid value for" in refused.told


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("users", "create", f"{NO_TEXT}@example.test", "--no-password"), "email"),
        (("users", "create", "ann@example.test", "--full-name", NO_TEXT, "--no-password"), "full_name"),
        (("tokens", "create", "1", NO_TEXT, "--scope", "read"), "name"),
        (("invitations", "create", "--email", NO_TEXT), "email"),
    ],
)
def test_so_is_what_goes_into_a_row(arguments: tuple[str, ...], field: str, cli: CommandLine) -> None:
    assert cli.refused(*arguments) == f"{field}: Text may not contain an unpaired surrogate."


@pytest.mark.parametrize("command", [("users", "show"), ("activity", "list", "--user")])
@pytest.mark.parametrize("name", ["0", "2147483648", "9" * 5000, "0" * 5000])
def test_digits_that_are_nobodys_id(command: tuple[str, ...], name: str, cli: CommandLine) -> None:
    assert cli.refused(*command, name) == f"There is no user {name!r}."
