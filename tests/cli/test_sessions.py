"""`trading-backend sessions …`."""

import httpx
import pytest

from tests.cli.records import of_command, recorded
from tests.cli.support import CommandLine
from tests.support.identity import add_session, add_user, execute
from tests.support.service import bearer

pytestmark = pytest.mark.anyio


async def status(client: httpx.AsyncClient, token: str) -> int:
    return (await client.get("/api/users/me", headers=bearer(token))).status_code


async def test_list(cli: CommandLine, clone_url: str, anonymous: httpx.AsyncClient) -> None:
    ann = add_user(clone_url, "ann@example.test")
    tokens = [add_session(anonymous, ann) for _ in range(3)]
    over = "UPDATE user_sessions SET last_activity_at = last_activity_at - interval '15 days' WHERE id = 1"
    execute(clone_url, over)
    listed = (await anonymous.get("/api/sessions", headers=bearer(tokens[2]))).json()["items"]
    assert [row["id"] for row in listed] == [3, 2]
    assert cli("sessions", "list", "ann@example.test", "--json").json == [row | {"current": False} for row in listed]
    assert [line.split()[0] for line in cli("sessions", "list", str(ann)).printed.splitlines()] == ["ID", "3", "2"]


async def test_one_is_ended(cli: CommandLine, clone_url: str, anonymous: httpx.AsyncClient) -> None:
    ann = add_user(clone_url, "ann@example.test")
    ended, other = (add_session(anonymous, ann) for _ in range(2))
    assert cli("sessions", "revoke", "1").told == "Ended session 1.\n"
    assert [await status(anonymous, token) for token in (ended, other)] == [401, 200]
    assert recorded(clone_url, "session_ended") == [of_command(ann, "ann@example.test", ("session", 1))]
    for gone in ("1", "99"):
        assert cli.refused("sessions", "revoke", gone) == "There is no such session."


async def test_all_of_a_user_are_ended(cli: CommandLine, clone_url: str, anonymous: httpx.AsyncClient) -> None:
    ann, bob = (add_user(clone_url, f"{name}@example.test") for name in ("ann", "bob"))
    tokens = [add_session(anonymous, user) for user in (ann, ann, bob)]
    cli("sessions", "revoke", "--user", "ann@example.test")
    assert [await status(anonymous, token) for token in tokens] == [401, 401, 200]
    ended = of_command(ann, "ann@example.test", scope="global", count=2)
    assert recorded(clone_url, "sessions_ended") == [ended]
    assert cli.refused("sessions", "revoke", "--user", "carl") == "There is no user 'carl'."


@pytest.mark.parametrize("arguments", [[], ["1", "--user", "1"], ["0"], ["one"]])
def test_usage(arguments: list[str], cli: CommandLine) -> None:
    assert cli.run("sessions", "revoke", *arguments).status == 2
