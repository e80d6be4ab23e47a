"""`trading-backend prune`."""

from datetime import UTC, datetime

import pytest

from tests.cli.support import CommandLine
from tests.features.activity.rows import LONG_AGO, add_row
from tests.support.identity import execute


def add_throttle(url: str, *hours: int) -> None:
    """Sign-in failures of so many hours ago."""
    for number in hours:
        execute(
            url,
            "INSERT INTO throttled_keys VALUES "
            "(sha256(:key), 1, timezone('utc', now()) - make_interval(hours => :hours), now())",
            key=str(number).encode(),
            hours=number,
        )


def test_it_says_how_much_of_what(cli: CommandLine, clone_url: str) -> None:
    add_throttle(clone_url, 23, 25)
    add_row(clone_url)
    nothing = {"sessions": 0, "exchanges": 0, "throttle": 0, "networks": 0, "idempotency_keys": 0}
    assert cli("prune", "--json").json == nothing | {"throttle": 1}
    add_throttle(clone_url, 26)
    told = "Deleted 0 of sessions, 0 of exchanges, 1 of throttle, 0 of networks, 0 of idempotency_keys.\n"
    assert cli("prune").printed == told
    assert len(execute(clone_url, "SELECT FROM throttled_keys")) == 1
    assert len(execute(clone_url, "SELECT FROM activity_log")) == 1, "no retention was set"


def test_the_option_decides_before_the_setting(
    cli: CommandLine, clone_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        add_row(clone_url)
    age = (datetime.now(UTC) - LONG_AGO).days
    monkeypatch.setenv("ACTIVITY_RETENTION_DAYS", "30")
    assert cli("prune", "--activity-older-than", str(age + 2), "--json").json["activity"] == 0
    monkeypatch.setenv("ACTIVITY_RETENTION_DAYS", str(age + 2))
    assert cli("prune", "--json").json["activity"] == 0
    assert cli("prune", "--activity-older-than", str(age)).printed.endswith(", 3 of activity.\n")
    add_row(clone_url)
    monkeypatch.setenv("ACTIVITY_RETENTION_DAYS", "30")
    assert cli("prune", "--json").json["activity"] == 1
    assert execute(clone_url, "SELECT FROM activity_log") == []


def test_a_table_that_fails_keeps_no_other_from_it(cli: CommandLine, clone_url: str) -> None:
    add_throttle(clone_url, 25)
    execute(clone_url, "ALTER TABLE user_sessions RENAME TO elsewhere")
    outcome = cli.run("prune")
    assert (outcome.status, outcome.printed) == (1, "")
    first, last = outcome.told.splitlines()
    assert "pruning of sessions failed: ProgrammingError" in first
    assert last.startswith("ERROR: A statement on ")
    assert execute(clone_url, "SELECT FROM throttled_keys") == []


@pytest.mark.parametrize("days", ["0", "-1", "36501", "soon", "1.5"])
def test_usage(days: str, cli: CommandLine) -> None:
    assert cli.run("prune", "--activity-older-than", days).status == 2


def test_the_longest_retention(cli: CommandLine, clone_url: str) -> None:
    add_row(clone_url)
    assert cli("prune", "--activity-older-than", "36500", "--json").json["activity"] == 0
