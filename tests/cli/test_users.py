"""`trading-backend users …`, and what the API says of it."""

import httpx
import pytest

from tests.cli.records import of_command, recorded
from tests.cli.support import CommandLine
from tests.support.accounts import PASSWORD, claim, password_of, sign_in
from tests.support.identity import add_user, execute
from tests.support.service import bearer

pytestmark = pytest.mark.anyio

ANOTHER = password_of("another")


async def test_who_is_made_signs_in(cli: CommandLine, clone_url: str, anonymous: httpx.AsyncClient) -> None:
    made = cli("users", "create", "ann@example.test", "--username", "ann", "--role", "owner", "--json", stdin=PASSWORD)
    answer = await sign_in(anonymous, "ann")
    assert answer.status_code == 200, answer.text
    me = (await anonymous.get("/api/users/me", headers=bearer(answer.json()["access_token"]))).json()
    assert cli("users", "show", "ann", "--json").json == me
    assert made.json == me | {"last_login_at": None}
    _, created = recorded(clone_url, "user_created")  # the first is the start's
    assert created == of_command(me["id"], "ann@example.test", role="owner")


async def test_list(cli: CommandLine, mvp: httpx.AsyncClient) -> None:
    cli("users", "create", "ann@example.test", "--full-name", "Ann Ant", "--no-password")
    cli("users", "create", "bob@example.test", "--no-password")
    cli("users", "deactivate", "bob@example.test")
    assert cli("users", "list", "--json").json == (await mvp.get("/api/users")).json()["items"]

    heading, bob, ann, founder = cli("users", "list").printed.splitlines()
    assert heading.split("  ")[0] == "ID"
    assert bob.split() == ["3", "bob@example.test", "-", "-", "member", "no", "no", "-"]
    assert ann.split() == ["2", "ann@example.test", "-", "Ann", "Ant", "member", "yes", "no", "-"]
    assert founder.split() == ["1", "mvp@localhost", "mvp", "-", "owner", "yes", "no", "-"]
    assert len({line.index("member") for line in (bob, ann)} | {heading.index("ROLE"), founder.index("owner")}) == 1

    def ids(*options: str) -> list[int]:
        return [user["id"] for user in cli("users", "list", "--json", *options).json]

    assert ids("--search", "ANT") == [2]
    assert ids("--role", "owner") == [1]
    assert ids("--active") == [2, 1]
    assert ids("--inactive") == [3]


@pytest.mark.parametrize(
    ("arguments", "password", "sentence"),
    [
        (["Ann <ann@example.test>"], PASSWORD, "email: Input should be an e-mail address such as ann@example.com."),
        (["ann@example.test", "--username", "\u0410nn"], PASSWORD, "username: Input should be 3 to 64 letters (a-z)"),
        (["ann@example.test", "--full-name", " "], PASSWORD, "full_name: String should have at least 1 character."),
        (["ann@example.test"], "", "There is no password on standard input: "),
        (["ann@example.test"], "\n", "There is no password on standard input: "),
        (["ann@example.test"], f"{PASSWORD}\n{ANOTHER}\n", "Standard input holds more than one line: "),
        (["ann@example.test"], b"\xff" * 20, "The password on standard input is no text"),
        (["ann@example.test"], f"{PASSWORD}\0", "password: Text may not contain the NUL character."),
        (["ann@example.test"], "short", "password: A password has at least 12 characters."),
        (["ann@example.test"], "x" * 4000, "password: A password has at most 256 characters."),
        (["ann@example.test"], "password1234", "password: This password is too easy to guess."),
        (["annabelle@example.test"], "annabelle@example.test", "password: This password is too easy to guess."),
    ],
)
def test_who_is_not_made(
    arguments: list[str], password: str | bytes, sentence: str, cli: CommandLine, clone_url: str
) -> None:
    assert cli.refused("users", "create", *arguments, stdin=password).startswith(sentence)
    assert execute(clone_url, "SELECT FROM users") == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["FOUNDER@example.test"], "email_taken"), (["ann@example.test", "--username", "FOUNDER"], "username_taken")],
)
def test_names_are_unique(arguments: list[str], code: str, cli: CommandLine, clone_url: str) -> None:
    cli("users", "create", "founder@example.test", "--username", "founder", "--no-password")
    assert cli.refused("users", "create", *arguments, stdin=PASSWORD).startswith("Another account has this ")
    assert len(execute(clone_url, "SELECT FROM users")) == 1
    assert recorded(clone_url, "user_change_refused") == [of_command(None, None, reason=code)]


async def test_the_only_owner_comes_back(cli: CommandLine, clone_url: str, anonymous: httpx.AsyncClient) -> None:
    """Without its password, without the MVP token, and without anybody who could help."""
    account = await claim(anonymous)
    told = cli("users", "reset-password", "FOUNDER@example.test", stdin=f"{ANOTHER}\r\n")
    assert "founder@example.test" in told.printed
    assert told.told == ""

    assert (await anonymous.get("/api/users/me", headers=account.headers)).status_code == 401
    assert (await sign_in(anonymous, "founder@example.test")).status_code == 401
    assert (await sign_in(anonymous, "founder@example.test", ANOTHER)).status_code == 200
    assert recorded(clone_url, "password_reset") == [of_command(account.id, "founder@example.test")]


async def test_a_password_claims_the_mvp_user(cli: CommandLine, mvp: httpx.AsyncClient) -> None:
    told = cli("users", "reset-password", "mvp", stdin=PASSWORD)
    assert "API_TOKEN is good no more" in told.told
    assert (await mvp.get("/api/users/me")).status_code == 401
    assert (await sign_in(mvp, "mvp")).status_code == 200
    assert "was claimed" in cli.refused("claim", "ann@example.test", stdin=PASSWORD)


async def test_a_deactivated_user_is_told_apart(cli: CommandLine, anonymous: httpx.AsyncClient) -> None:
    cli("users", "create", "ann@example.test", "--no-password")
    cli("users", "deactivate", "2")
    told = cli("users", "reset-password", "2", stdin=PASSWORD).told
    assert told == "The user is deactivated: let them in with `trading-backend users activate 2`.\n"
    assert (await sign_in(anonymous, "ann@example.test")).status_code == 401
    cli(*told.split("`")[1].split()[1:])
    assert (await sign_in(anonymous, "ann@example.test")).status_code == 200


async def test_a_one_time_token(cli: CommandLine, clone_url: str, anonymous: httpx.AsyncClient) -> None:
    cli("users", "create", "ann@example.test", "--no-password")
    first = cli("users", "reset-password", "ann@example.test", "--one-time-token").printed.strip()
    second = cli("users", "reset-password", "ann@example.test", "--one-time-token", "--json").json
    assert second.keys() == {"token", "expires_at"}
    statuses = []
    for token in (first, second["token"], second["token"]):
        body = {"token": token, "new_password": PASSWORD}
        statuses.append((await anonymous.post("/api/auth/password/reset", json=body)).status_code)
    assert statuses == [400, 204, 400]
    assert (await sign_in(anonymous, "ann@example.test")).status_code == 200
    assert recorded(clone_url, "password_reset_issued") == [of_command(2, "ann@example.test")] * 2


async def test_roles(cli: CommandLine, clone_url: str, anonymous: httpx.AsyncClient) -> None:
    """They count at once."""
    cli("users", "create", "ann@example.test", stdin=PASSWORD)
    ann = bearer((await sign_in(anonymous, "ann@example.test")).json()["access_token"])
    assert (await anonymous.get("/api/users", headers=ann)).status_code == 403
    assert cli("users", "promote", "ann@example.test", "--json").json["role"] == "owner"
    assert (await anonymous.get("/api/users", headers=ann)).status_code == 200
    assert cli("users", "demote", "ann@example.test", "--json").json["role"] == "member"
    assert (await anonymous.get("/api/users", headers=ann)).status_code == 403
    assert [row["details"]["changes"] for row in recorded(clone_url, "user_changed")] == [
        {"role": {"from": "member", "to": "owner"}},
        {"role": {"from": "owner", "to": "member"}},
    ]


async def test_deactivation(cli: CommandLine, anonymous: httpx.AsyncClient) -> None:
    cli("users", "create", "ann@example.test", stdin=PASSWORD)
    ann = bearer((await sign_in(anonymous, "ann@example.test")).json()["access_token"])
    cli("users", "deactivate", "ann@example.test")
    assert (await anonymous.get("/api/users/me", headers=ann)).status_code == 401
    assert (await sign_in(anonymous, "ann@example.test")).status_code == 401
    cli("users", "activate", "ann@example.test")
    assert (await anonymous.get("/api/users/me", headers=ann)).status_code == 401
    assert (await sign_in(anonymous, "ann@example.test")).status_code == 200


@pytest.mark.parametrize("command", [["demote"], ["deactivate"], ["delete", "--yes"]])
def test_the_last_owner_stays(command: list[str], cli: CommandLine, clone_url: str) -> None:
    name, *options = command
    owner = add_user(clone_url, "ann@example.test", role="owner")
    add_user(clone_url, "bob@example.test", role="owner", is_active=False)
    assert cli.refused("users", name, "ann@example.test", *options).startswith("This is the last active owner: ")
    kept = cli("users", "show", str(owner), "--json").json
    assert (kept["role"], kept["is_active"]) == ("owner", True)
    refusal = of_command(owner, "ann@example.test", reason="last_owner")
    assert recorded(clone_url, "user_change_refused") == [refusal]


def test_delete_asks(cli: CommandLine, clone_url: str) -> None:
    user_id = add_user(clone_url, "ann@example.test")
    for no in ("", "n\n"):
        asked = cli.run("users", "delete", "ann@example.test", stdin=no)
        assert asked.status == 1
        assert asked.told.startswith(f"Delete user {user_id}, ann@example.test, for good? [y/N]")
    cli("users", "show", "ann@example.test")

    cli("users", "delete", "ann@example.test", stdin="y\n")
    assert cli.refused("users", "show", "ann@example.test") == "There is no user 'ann@example.test'."
    assert recorded(clone_url, "user_deleted") == [of_command(user_id, "ann@example.test")]


def test_how_a_user_is_named(cli: CommandLine, clone_url: str) -> None:
    """Digits are an id and nothing else, whatever somebody took for a username."""
    ann, imposter = (add_user(clone_url, email) for email in ("Ann@example.test", "imposter@example.test"))
    execute(clone_url, "UPDATE users SET username = 'ann' WHERE id = :id", id=ann)
    execute(clone_url, "UPDATE users SET username = '777' WHERE id = :id", id=imposter)

    def named(name: str) -> int:
        found: int = cli("users", "show", name, "--json").json["id"]
        return found

    assert [named(name) for name in (str(ann), "ANN@EXAMPLE.TEST", "Ann")] == [ann] * 3
    assert named("imposter@example.test") == imposter
    for name in ("777", "0", "9" * 5000, "nobody", "٣"):
        assert cli.refused("users", "show", name) == f"There is no user {name!r}."
