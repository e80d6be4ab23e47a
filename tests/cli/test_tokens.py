"""`trading-backend tokens …`."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.cli.records import of_command, recorded
from tests.cli.support import CommandLine
from tests.support.identity import add_token, add_user, execute
from tests.support.service import MVP_TOKEN, bearer

pytestmark = pytest.mark.anyio


@pytest.fixture
def ann(clone_url: str) -> int:
    return add_user(clone_url, "ann@example.test")


async def test_it_works_and_is_printed_alone(
    ann: int, cli: CommandLine, clone_url: str, anonymous: httpx.AsyncClient
) -> None:
    made = cli("tokens", "create", "ann@example.test", "nightly", "--scope", "read")
    token = made.printed.removesuffix("\n")
    assert token not in made.told
    assert (await anonymous.get("/api/users/me", headers=bearer(token))).json()["id"] == ann
    assert (await anonymous.patch("/api/users/me", headers=bearer(token), json={})).status_code == 403
    (row,) = cli("tokens", "list", "ann@example.test", "--json").json
    about = {"name": "nightly", "scopes": ["read"]}
    _, created = recorded(clone_url, "token_created")  # the first is the start's
    assert created == of_command(ann, "ann@example.test", ("token", row["id"]), **about)


async def test_as_json_it_is_what_the_api_answers(ann: int, cli: CommandLine, anonymous: httpx.AsyncClient) -> None:
    soon = datetime.now(UTC) + timedelta(days=30)
    options = ("--scope", "write", "--scope", "read", "--expires-in-days", "30", "--json")
    made = cli("tokens", "create", str(ann), "ci", *options).json
    listed = (await anonymous.get("/api/tokens", headers=bearer(made["token"]))).json()["items"]
    assert [made] == [listed[0] | {"last_used_at": None, "token": made["token"]}]
    assert abs(datetime.fromisoformat(made["expires_at"]) - soon) < timedelta(minutes=1)


def test_what_the_role_does_not_allow_is_told(ann: int, cli: CommandLine) -> None:
    told = cli("tokens", "create", str(ann), "ci", "--scope", "read", "--scope", "admin").told.splitlines()
    assert told[1:] == ["As long as ann@example.test has the role member, the token may not do: admin."]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nobody", "ci", "--scope", "read"], "There is no user 'nobody'."),
        (["ann@example.test", " ", "--scope", "read"], "name: String should have at least 1 character."),
        (["ann@example.test", "ci", "--scope", "all"], "scopes/0: Input should be 'read', 'write' or 'admin'."),
    ],
)
def test_refusals(arguments: list[str], sentence: str, ann: int, cli: CommandLine, clone_url: str) -> None:
    assert cli.refused("tokens", "create", *arguments) == sentence
    assert execute(clone_url, "SELECT FROM api_tokens") == []


async def test_list_shows_those_that_work(ann: int, cli: CommandLine, clone_url: str) -> None:
    add_token(clone_url, ann, ["read", "write"])
    add_token(clone_url, ann, revoked=True)
    add_token(clone_url, ann, expires_in=timedelta(days=-1))
    heading, row = cli("tokens", "list", str(ann)).printed.splitlines()
    assert heading.split("  ")[0] == "ID"
    assert row.split()[:3] == ["1", "by", "hand"]
    assert "read, write" in row


async def test_revoke(ann: int, cli: CommandLine, clone_url: str, anonymous: httpx.AsyncClient) -> None:
    token = add_token(clone_url, ann)
    (row,) = cli("tokens", "list", str(ann), "--json").json
    assert (await anonymous.get("/api/users/me", headers=bearer(token))).status_code == 200
    cli("tokens", "revoke", str(row["id"]))
    assert (await anonymous.get("/api/users/me", headers=bearer(token))).status_code == 401
    revoked = of_command(ann, "ann@example.test", ("token", row["id"]), name="by hand")
    assert recorded(clone_url, "token_revoked") == [revoked]
    for gone in (row["id"], 999):
        assert cli.refused("tokens", "revoke", str(gone)) == "There is no such token."


async def test_the_token_of_the_configuration_would_come_back(cli: CommandLine, anonymous: httpx.AsyncClient) -> None:
    (row,) = cli("tokens", "list", "mvp", "--json").json
    assert cli.refused("tokens", "revoke", str(row["id"])).endswith("change API_TOKEN.")
    assert (await anonymous.get("/api/users/me", headers=bearer(MVP_TOKEN))).status_code == 200
