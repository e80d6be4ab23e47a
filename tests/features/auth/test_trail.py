"""Each step on the way in is one row in the activity log: who, from where, in which request; and no secret."""

from itertools import count
from typing import Any

import httpx
import pytest

from tests.support.accounts import PASSWORD, password_of
from tests.support.identity import execute
from tests.support.service import MVP_TOKEN, bearer

pytestmark = pytest.mark.anyio

ADDRESS, AGENT = "192.0.2.44", "Diary/1.0 (trail)"
FOUNDER, ANN = "founder@example.test", "ann@example.test"
SECOND, TYPED = password_of("second"), "typed-by-mistake-4711"

Row = tuple[str, str | None, str | None, str]
"""Action, whose account, who did it, and how they showed who they are."""


class Diary:
    """Sends requests, and finds for each one what the log says of it."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self.client, self.url = client, url
        self.secrets = {MVP_TOKEN, PASSWORD, SECOND, TYPED}
        self._numbers = count(1)

    async def post(self, path: str, body: Any, *expected: Row, token: str | None = None) -> dict[str, Any]:
        """The answer; its request left exactly the `expected` rows."""
        request_id = f"step-{next(self._numbers)}"
        headers = {"User-Agent": AGENT, "X-Forwarded-For": ADDRESS, "X-Request-ID": request_id}
        answer = await self.client.post(f"/api/{path}", json=body, headers=headers | (bearer(token) if token else {}))
        rows = execute(self.url, "SELECT * FROM activity_log WHERE request_id = :id ORDER BY id", id=request_id)
        assert [(row["action_type"], row["user_email"], row["actor_email"], row["actor_kind"]) for row in rows] == list(
            expected
        ), answer.text
        assert {(row["ip_address"], row["user_agent"]) for row in rows} <= {(ADDRESS, AGENT)}
        said: dict[str, Any] = answer.json() if answer.content else {}
        self.secrets |= {value for name, value in said.items() if name.endswith("token")}
        return said


async def test_every_step(client: httpx.AsyncClient, url: str) -> None:
    diary = Diary(client, url)
    founder = await the_founder_claims(diary)
    invitation = await diary.post(
        "invitations", {"role": "member"}, ("invitation_created", None, FOUNDER, "session"), token=founder
    )
    await ann_registers(diary, invitation["token"])
    refresh_token = await ann_signs_in(diary)
    await ann_goes_on(diary, refresh_token)
    await ann_forgets_her_password(diary, founder)
    secrets = diary.secrets | {row["password_hash"] for row in execute(url, "SELECT password_hash FROM users")}
    assert len(secrets) > 15
    log = "\n".join(row["row"] for row in execute(url, "SELECT t::text AS row FROM activity_log t"))
    assert [secret for secret in secrets if secret in log] == []
    # Neither the whole of a signed token nor its signature alone.
    assert [secret for secret in secrets if secret.count(".") == 2 and secret.rpartition(".")[2] in log] == []


async def the_founder_claims(diary: Diary) -> str:
    body = {"email": FOUNDER, "password": PASSWORD}
    await diary.post(
        "auth/claim", body | {"username": "founder", "password": "password1234"}, token=MVP_TOKEN
    )  # what does not fit is no attempt
    claimed = await diary.post(
        "auth/claim",
        body,
        ("token_revoked", "mvp@localhost", "mvp@localhost", "mvp_token"),
        ("claimed", FOUNDER, "mvp@localhost", "mvp_token"),
        ("signed_in", FOUNDER, FOUNDER, "proven"),
        token=MVP_TOKEN,
    )
    await diary.post("auth/claim", body, ("claim_refused", FOUNDER, None, "anonymous"), token=MVP_TOKEN)
    session: str = claimed["access_token"]
    await diary.post("auth/claim", body, ("permission_denied", FOUNDER, FOUNDER, "session"), token=session)
    return session


async def ann_registers(diary: Diary, invitation: str) -> None:
    body = {"email": ANN, "password": PASSWORD}
    refused: Row = ("registration_refused", None, None, "anonymous")
    await diary.post("auth/register", body, refused)
    await diary.post("auth/register", body | {"invitation": TYPED}, refused)
    await diary.post("auth/register", body | {"invitation": invitation, "email": FOUNDER}, refused)
    await diary.post("auth/register", body | {"invitation": invitation, "password": "password1234"})
    await diary.post(
        "auth/register",
        body | {"invitation": invitation},
        ("registered", ANN, ANN, "proven"),
        ("signed_in", ANN, ANN, "proven"),
    )
    await diary.post("auth/register", body | {"invitation": invitation}, refused)


async def ann_signs_in(diary: Diary) -> str:
    # Whoever mixes up the fields types a password as a name.
    await diary.post("auth/login", {"username": TYPED, "password": TYPED}, ("sign_in_failed", None, None, "anonymous"))
    wrong, failed = {"username": ANN, "password": TYPED}, ("sign_in_failed", ANN, None, "anonymous")
    for _ in range(5):
        await diary.post("auth/login", wrong, failed)
    await diary.post("auth/login", wrong, ("sign_in_throttled", ANN, None, "anonymous"))
    execute(diary.url, "DELETE FROM throttled_keys")
    body = {"username": ANN, "password": PASSWORD}
    signed_in = await diary.post("auth/login", body, ("signed_in", ANN, ANN, "proven"))
    await diary.post("auth/login", body | {"username": ANN, "more": TYPED})
    refresh_token: str = signed_in["refresh_token"]
    return refresh_token


async def ann_goes_on(diary: Diary, refresh_token: str) -> None:
    body = {"refresh_token": refresh_token}
    await diary.post("auth/refresh", {"refresh_token": TYPED})
    successor = await diary.post("auth/refresh", body, ("session_refreshed", ANN, ANN, "proven"))
    await diary.post("auth/refresh", body)  # the other tab
    execute(diary.url, "UPDATE refresh_token_exchanges SET exchanged_at = exchanged_at - interval '1 minute'")
    await diary.post("auth/refresh", body, ("refresh_token_reused", ANN, None, "anonymous"))
    over: Row = ("refresh_refused", ANN, None, "anonymous")
    await diary.post("auth/refresh", {"refresh_token": successor["refresh_token"]}, over)
    opened = [
        await diary.post("auth/login", {"username": ANN, "password": PASSWORD}, ("signed_in", ANN, ANN, "proven"))
        for _ in range(3)
    ]
    first, second, _ = (pair["access_token"] for pair in opened)
    await diary.post("auth/logout", None, ("session_ended", ANN, ANN, "session"), token=first)
    await diary.post("auth/logout", None, token=first)
    ended: Row = ("sessions_ended", ANN, ANN, "session")
    await diary.post("auth/logout?scope=others", None, ended, token=second)
    await diary.post("auth/logout?scope=global", None, ended, token=second)


async def ann_forgets_her_password(diary: Diary, founder: str) -> None:
    (row,) = execute(diary.url, "SELECT id FROM users WHERE email = :email", email=ANN)
    issued: Row = ("password_reset_issued", ANN, FOUNDER, "session")
    reset = await diary.post(f"users/{row['id']}/password-reset", None, issued, token=founder)
    refused: Row = ("password_reset_refused", None, None, "anonymous")
    await diary.post("auth/password/reset", {"token": TYPED, "new_password": SECOND}, refused)
    body = {"token": reset["token"], "new_password": SECOND}
    await diary.post("auth/password/reset", body | {"new_password": "password1234"})
    await diary.post("auth/password/reset", body, ("password_reset", ANN, ANN, "proven"))
    await diary.post("auth/password/reset", body, ("password_reset_refused", ANN, None, "anonymous"))
    await diary.post("auth/login", {"username": ANN, "password": PASSWORD}, ("sign_in_failed", ANN, None, "anonymous"))
    await diary.post("auth/login", {"username": ANN, "password": SECOND}, ("signed_in", ANN, ANN, "proven"))


async def test_a_user_agent_that_goes_on_and_on(client: httpx.AsyncClient, url: str) -> None:
    for number, (agent, kept) in enumerate([("x" * 5000, "x" * 500), ("", None), ("\xe9\xff", "\xe9\xff")]):
        headers = {"User-Agent": agent.encode("latin-1"), "X-Request-ID": f"agent-{number}"}
        body = {"username": "nobody", "password": "x"}
        assert (await client.post("/api/auth/login", json=body, headers=headers)).status_code == 401  # type: ignore[arg-type]
        (row,) = execute(url, "SELECT user_agent FROM activity_log WHERE request_id = :id", id=f"agent-{number}")
        assert row["user_agent"] == kept
