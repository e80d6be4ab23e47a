"""Secrets: typed unseen on a terminal, or the one line on standard input. Never an argument, which others can see."""

import sys

import typer

from app.cli.arguments import validated
from app.core.errors import StartupError
from app.identity.hashing import MAX_TYPED
from app.identity.passwords import NewPassword, hash_password, refuse_weak
from app.web.schemas import Body


class _Chosen(Body):
    password: NewPassword


def ask_for_password(*about: str | None) -> str:
    """The hash of a new password for an account whose names and address are `about`.

    Raises:
        StartupError: standard input holds none, or more than one line.
        InvalidInput: it is weak.
    """
    typed = _prompt() if sys.stdin.isatty() else _read_line()
    password = validated(_Chosen, password=typed).password.get_secret_value()
    refuse_weak(password, pointer="/password", about=about)
    return hash_password(password)


def ask_for_email(given: str | None) -> str:
    """What was `given`, or is typed on a terminal.

    Raises:
        StartupError: neither.
    """
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise StartupError("Give the e-mail address as an argument: standard input is for the password.")
    address: str = typer.prompt("E-mail address", err=True)
    return address


def _prompt() -> str:
    password: str = typer.prompt("Password", hide_input=True, confirmation_prompt="The same again", err=True)
    return password


def _read_line() -> str:
    try:
        text = sys.stdin.read(2 * MAX_TYPED)
    except UnicodeDecodeError:
        raise StartupError("The password on standard input is no text in this locale's encoding.") from None
    line, _, rest = text.partition("\n")
    if not (line := line.removesuffix("\r")):
        raise StartupError("There is no password on standard input: pipe one line into it, or use a terminal.")
    if rest.strip():
        raise StartupError("Standard input holds more than one line: pipe the password alone into it.")
    return line
