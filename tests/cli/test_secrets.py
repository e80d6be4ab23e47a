"""Where a secret goes in, where it comes out, and that it is nowhere else."""

import os
import pty
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from app.cli import main
from tests.cli.support import CommandLine
from tests.support.accounts import PASSWORD, password_of
from tests.support.chain import dump
from tests.support.identity import add_user
from tests.support.service import MVP_TOKEN, clone, environment

RESET = ("users", "reset-password", "ann@example.test")


def started(url: str, folder: Path, *arguments: str, stdin: int, stderr: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "app.cli", *arguments],
        cwd=clone() / "backend",
        env=environment({"DATABASE_URL": url, "DATA_DIR": str(folder)}),
        start_new_session=True,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
    )


def test_one_is_read_from_a_pipe(clone_url: str, tmp_path: Path) -> None:
    add_user(clone_url, "ann@example.test")
    pipe = subprocess.PIPE
    with started(clone_url, tmp_path, *RESET, "--json", stdin=pipe, stderr=pipe) as command:
        out, err = command.communicate(PASSWORD.encode(), timeout=30)
    assert (command.returncode, err) == (0, b"")
    assert b'"has_password": true' in out


def test_a_terminal_is_asked_twice_and_shows_nothing(clone_url: str, tmp_path: Path) -> None:
    """The result alone is on standard output."""
    add_user(clone_url, "ann@example.test")
    person, terminal = pty.openpty()
    seen = b""

    def answer(question: str, text: str) -> None:
        nonlocal seen
        while question.encode() not in seen[done:]:
            seen += os.read(person, 1024)
        os.write(person, f"{text}\n".encode())

    with started(clone_url, tmp_path, *RESET, stdin=terminal, stderr=terminal) as command:
        os.close(terminal)
        for first, again in ((PASSWORD, "a slip"), (PASSWORD, PASSWORD)):
            done = len(seen)
            answer("Password: ", first)
            answer("The same again: ", again)
        out, _ = command.communicate(timeout=30)
    os.close(person)
    assert command.returncode == 0
    assert out.decode().splitlines()[0].startswith("ID  E-MAIL")
    assert b"do not match" in seen
    assert not any(secret in seen + out for secret in (PASSWORD.encode(), b"a slip"))


def test_a_journey_leaves_none_behind(cli: CommandLine, clone_url: str, caplog: pytest.LogCaptureFixture) -> None:
    passwords = [password_of(name) for name in ("ann", "bob", "carl", "again")]
    cli("claim", "ann@example.test", "--keep-api-token", stdin=passwords[0])
    cli("users", "create", "bob@example.test", stdin=passwords[1])
    cli("users", "reset-password", "bob@example.test", stdin=passwords[2])
    cli.refused("users", "create", "BOB@example.test", stdin=passwords[3])
    cli.refused("users", "create", "dora@example.test", stdin="weak-secret")
    minted = [
        cli(*command).printed.strip()
        for command in (
            ("tokens", "create", "ann@example.test", "ci", "--scope", "read"),
            ("invitations", "create"),
            ("users", "reset-password", "bob@example.test", "--one-time-token"),
        )
    ]
    assert [token.partition("_")[0] for token in minted] == ["tb", "tbi", "tbr"]
    for command in (("users", "list"), ("tokens", "list", "1"), ("invitations", "list"), ("activity", "list")):
        cli(*command)
        cli(*command, "--json")
    cli.run("doctor")

    said = "".join(outcome.told + caplog.text for outcome in cli.outcomes)
    printed = "".join(outcome.printed for outcome in cli.outcomes)
    stored = dump(clone_url).decode()
    assert not any(secret in said + printed + stored for secret in (*passwords, "weak-secret", MVP_TOKEN))
    assert not any(token in said + stored for token in minted)
    assert [printed.count(token) for token in minted] == [1, 1, 1]


def test_the_installed_command() -> None:
    (command,) = entry_points(group="console_scripts", name="trading-backend")
    assert command.load() is main
