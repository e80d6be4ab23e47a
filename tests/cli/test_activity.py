"""`trading-backend activity …`."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.cli.support import CommandLine
from tests.features.activity.rows import LONG_AGO, add_row
from tests.support.identity import add_user, execute

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)


async def test_list(cli: CommandLine, clone_url: str, mvp: httpx.AsyncClient) -> None:
    execute(clone_url, "DELETE FROM activity_log")  # what the start left
    ann = add_user(clone_url, "ann@example.test")
    for day in range(3):
        add_row(clone_url, after=day * DAY, user_id=ann, user_email="ann@example.test", details={"day": day})
    add_row(clone_url, "sign_in_failed", after=-DAY, user_id=99, user_agent="\x1b[2J")
    listed = (await mvp.get("/api/activity")).json()["items"]
    assert cli("activity", "list", "--json").json == listed

    def days(*options: str) -> list[Any]:
        return [row["details"].get("day") for row in cli("activity", "list", "--json", *options).json]

    assert days() == [2, 1, 0, None]
    assert days("--user", "ANN@example.test") == days("--action", "signed_in") == [2, 1, 0]
    assert days("--user", "99") == [None]
    assert days("--since", "2001-02-04T00:00:00Z", "--until", "2001-02-05T00:00:00Z") == [1]
    assert days("--limit", "2") == [2, 1]
    assert cli.refused("activity", "list", "--user", "nobody") == "There is no user 'nobody'."

    heading, newest, *_ = cli("activity", "list").printed.splitlines()
    assert heading.split()[:4] == ["WHEN", "(UTC)", "ACTION", "USER"]
    assert newest.startswith("2001-02-05 04:05:06  signed_in")
    assert newest.endswith('{"day": 2}')


@pytest.mark.parametrize(
    "options", [("--since", "yesterday"), ("--since", "12345"), ("--action", "slept"), ("--limit", "0")]
)
def test_usage(options: tuple[str, str], cli: CommandLine) -> None:
    assert cli.run("activity", "list", *options).status == 2


def test_prune(cli: CommandLine, clone_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        add_row(clone_url)
    old = "(sha256('a'), 1, timezone('utc', now()) - interval '25 hours', now())"
    new = "(sha256('b'), 1, timezone('utc', now()) - interval '23 hours', now())"
    execute(clone_url, f"INSERT INTO throttled_keys VALUES {old}, {new}")
    assert "ACTIVITY_RETENTION_DAYS" in cli.refused("activity", "prune")

    since = str((_today(clone_url) - LONG_AGO.replace(tzinfo=None)).days + 2)
    assert cli("activity", "prune", "--older-than", since, "--json").json == {"activity": 0, "throttle": 1}
    monkeypatch.setenv("ACTIVITY_RETENTION_DAYS", "30")
    assert cli("activity", "prune").printed == "Deleted 3 rows of the activity log, 0 of sign-in failures.\n"
    assert len(execute(clone_url, "SELECT FROM throttled_keys")) == 1
    assert execute(clone_url, "SELECT FROM activity_log") == []
    assert cli.run("activity", "prune", "--older-than", "0").status == 2


def _today(url: str) -> Any:
    return execute(url, "SELECT timezone('utc', now()) AS now")[0]["now"]
