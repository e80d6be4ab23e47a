"""`trading-backend claim`."""

import httpx
import pytest

from tests.cli.records import of_command, recorded
from tests.cli.support import CommandLine
from tests.support.accounts import PASSWORD, sign_in
from tests.support.identity import add_user, execute
from tests.support.service import MVP_TOKEN, bearer

pytestmark = pytest.mark.anyio


async def test_without_the_token(
    cli: CommandLine, clone_url: str, anonymous: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service runs meanwhile, and this shell does not know its token."""
    monkeypatch.setenv("API_TOKEN", "x" * 32)
    before = (await anonymous.get("/api/users/me", headers=bearer())).json()
    claimed = cli("claim", "ann@example.test", "--username", "ann", "--full-name", "Ann", "--json", stdin=PASSWORD)
    names = {"email": "ann@example.test", "username": "ann", "full_name": "Ann", "has_password": True}
    assert claimed.json == before | names | {"updated_at": claimed.json["updated_at"]}
    assert "API_TOKEN is good no more" in claimed.told
    assert (await anonymous.get("/api/users/me", headers=bearer())).status_code == 401
    assert (await sign_in(anonymous, "ann")).status_code == 200
    assert recorded(clone_url, "claimed") == [of_command(1, "ann@example.test", keep_api_token=False)]

    assert cli.refused("claim", "bob@example.test", stdin=PASSWORD).startswith("The MVP user was claimed: ")
    assert recorded(clone_url, "claim_refused") == [of_command(None, None, reason="already_claimed")]


async def test_the_token_can_be_kept(
    cli: CommandLine, anonymous: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("API_TOKEN")
    assert "ordinary" in cli("claim", "ann@example.test", "--keep-api-token", stdin=PASSWORD).told
    me = await anonymous.get("/api/users/me", headers=bearer())
    assert (me.status_code, me.json()["email"]) == (200, "ann@example.test")
    (token,) = cli("tokens", "list", "1", "--json").json
    assert token["from_configuration"] is False


def test_before_the_first_start(cli: CommandLine, clone_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In production no token need ever be set; but then there is none to keep."""
    for name, value in {"APP_ENV": "production", "JWT_SECRET": "7f3c9a51e08b46d2a7c4f19e5d80b362"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("API_TOKEN")
    told = cli.refused("claim", "ann@example.test", "--keep-api-token", stdin=PASSWORD)
    assert told == "There is no token to keep: set API_TOKEN, or leave --keep-api-token out."
    assert execute(clone_url, "SELECT FROM users") == []
    claimed = cli("claim", "ann@example.test", "--json", stdin=PASSWORD).json
    assert (claimed["role"], claimed["has_password"], claimed["username"]) == ("owner", True, "mvp")
    assert execute(clone_url, "SELECT FROM api_tokens WHERE revoked_at IS NULL") == []
    assert "was claimed" in cli.refused("claim", "ann@example.test", "--keep-api-token", stdin=PASSWORD)


@pytest.mark.parametrize(
    ("arguments", "password", "sentence"),
    [
        ([], PASSWORD, "Give the e-mail address as an argument: "),
        (["ann"], PASSWORD, "email: Input should be an e-mail address"),
        (["ann@example.test"], "", "There is no password on standard input: "),
        (["ann@example.test"], "annannannann", "password: This password is too easy to guess."),
        (["bob@example.test"], PASSWORD, "Another account has this e-mail address."),
    ],
)
async def test_refusals(
    arguments: list[str], password: str, sentence: str, cli: CommandLine, clone_url: str, mvp: httpx.AsyncClient
) -> None:
    """After each it can be claimed still."""
    add_user(clone_url, "bob@example.test")
    assert cli.refused("claim", *arguments, stdin=password).startswith(sentence)
    assert (await mvp.get("/api/users/me")).status_code == 200
    cli("claim", "ann@example.test", stdin=PASSWORD)


async def test_a_restart_does_not_reopen_it(cli: CommandLine, clone_url: str) -> None:
    cli("claim", "ann@example.test", stdin=PASSWORD)
    assert execute(clone_url, "SELECT FROM api_tokens WHERE revoked_at IS NULL") == []
    assert MVP_TOKEN not in "".join(outcome.printed + outcome.told for outcome in cli.outcomes)
