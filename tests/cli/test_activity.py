"""`trading-backend activity …`."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.cli.support import CommandLine
from tests.features.activity.rows import add_row
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
