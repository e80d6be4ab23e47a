"""`trading-backend invitations …`."""

import httpx
import pytest

from tests.cli.records import of_command, recorded
from tests.cli.support import CommandLine
from tests.support.accounts import PASSWORD
from tests.support.identity import execute

pytestmark = pytest.mark.anyio


async def register(client: httpx.AsyncClient, email: str, invitation: str) -> httpx.Response:
    body = {"email": email, "password": PASSWORD, "invitation": invitation}
    return await client.post("/api/auth/register", json=body)


async def test_it_lets_somebody_in(cli: CommandLine, clone_url: str, mvp: httpx.AsyncClient) -> None:
    made = cli("invitations", "create", "--role", "owner", "--email", "ann@example.test")
    token = made.printed.removesuffix("\n")
    assert token not in made.told
    assert (await register(mvp, "bob@example.test", token)).status_code == 403
    answer = await register(mvp, "ann@example.test", token)
    assert (answer.status_code, answer.json()["user"]["role"]) == (201, "owner")
    invited = of_command(None, None, ("invitation", 1), role="owner", email="ann@example.test")
    assert recorded(clone_url, "invitation_created") == [invited]

    other = cli("invitations", "create", "--json").json
    listed = (await mvp.get("/api/invitations")).json()["items"]
    assert cli("invitations", "list", "--json").json == listed
    assert other == listed[0] | {"token": other["token"]}
    heading, second, first = cli("invitations", "list").printed.splitlines()
    assert heading.split()[:3] == ["ID", "ROLE", "FOR"]
    assert second.split()[:3] == ["2", "member", "-"]
    assert first.split()[:3] == ["1", "owner", "ann@example.test"]


async def test_revoke(cli: CommandLine, clone_url: str, anonymous: httpx.AsyncClient) -> None:
    token = cli("invitations", "create").printed.strip()
    cli("invitations", "revoke", "1")
    assert (await register(anonymous, "ann@example.test", token)).status_code == 403
    revoked = of_command(None, None, ("invitation", 1), role="member", email=None)
    assert recorded(clone_url, "invitation_revoked") == [revoked]
    for gone in ("1", "99"):
        assert cli.refused("invitations", "revoke", gone) == "There is no such invitation."


@pytest.mark.parametrize(
    ("options", "lifetime"),
    [([], "7 days"), (["--expires-in-days", "1"], "1 day"), (["--expires-in-days", "30"], "30 days")],
)
def test_how_long_it_is_good(options: list[str], lifetime: str, cli: CommandLine, clone_url: str) -> None:
    cli("invitations", "create", *options)
    agrees = f"SELECT expires_at - created_at = interval '{lifetime}' AS agrees FROM invitations"
    assert [dict(row) for row in execute(clone_url, agrees)] == [{"agrees": True}]


def test_refusals(cli: CommandLine) -> None:
    said = cli.refused("invitations", "create", "--email", "Ann <ann@example.test>")
    assert said == "email: Input should be an e-mail address such as ann@example.com."
    for options in (["--role", "king"], ["--expires-in-days", "31"], ["--expires-in-days", "0"]):
        assert cli.run("invitations", "create", *options).status == 2
