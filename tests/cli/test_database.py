"""What commands about accounts need of the database, and say where it is not so."""

import pytest
from sqlalchemy import make_url

from app.cli import database
from app.db.revisions import head_revision
from tests.cli.support import CommandLine
from tests.support.identity import execute
from tests.support.postgres import run_outside_transaction
from tests.support.service import free_port

COMMANDS = (
    ["users", "list"],
    ["users", "reset-password", "1"],
    ["tokens", "list", "1"],
    ["sessions", "list", "1"],
    ["invitations", "list"],
    ["prune", "--activity-older-than", "1"],
    ["claim", "ann@example.test"],
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_database_that_is_behind_is_left_alone(
    command: list[str], cli: CommandLine, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_url)
    assert cli.refused(*command) == (
        f"The database is behind this code, which is at revision {head_revision()}: run `trading-backend migrate`."
    )
    assert execute(empty_url, "SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace") == []


def test_newer_tables_that_fit_are_good_enough(cli: CommandLine, clone_url: str) -> None:
    run_outside_transaction(clone_url, "UPDATE alembic_version SET version_num = 'ffffffffffff'")
    told = cli("users", "list")
    assert told.printed.startswith("ID  ")
    assert "does not know; its tables fit" in told.told


def test_a_database_that_is_down(cli: CommandLine, clone_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "PATIENCE", 0.3)
    down = f"postgresql://ann:s3cr3t-p4ssw0rd@127.0.0.1:{free_port()}/accounts"
    monkeypatch.setenv("DATABASE_URL", down)
    outcome = cli.run("users", "list")
    assert (outcome.status, outcome.printed) == (1, "")
    *waiting, sentence = outcome.told.splitlines()
    assert all("waiting for the database" in line for line in waiting)
    assert sentence.startswith(f"ERROR: The database at ann@127.0.0.1:{make_url(down).port}/accounts did not answer")
    assert "s3cr3t-p4ssw0rd" not in outcome.told


def test_a_database_that_can_only_be_read(cli: CommandLine, clone_url: str) -> None:
    cli("users", "create", "ann@example.test", "--no-password")
    name = make_url(clone_url).database
    run_outside_transaction(clone_url, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    assert "ann@example.test" in cli("users", "list").printed
    assert cli.refused("users", "promote", "ann@example.test").endswith("use the primary server's address.")


def test_bad_settings(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRATION", "nobody")
    assert cli.refused("users", "list").startswith("REGISTRATION Input should be")
