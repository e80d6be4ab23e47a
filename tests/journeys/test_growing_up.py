"""From one token to many people, on two replicas, and nothing of what was secret is left lying about."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.accounts import PASSWORD, password_of
from tests.support.chain import dump
from tests.support.service import MVP_TOKEN, Server, bearer, uvicorn_process

JWT_SECRET = "the-signing-key-of-this-journey-0123456789"
ANN, BOB = "ann@example.test", "bob@example.test"
SECOND, THIRD = password_of("second"), password_of("third")


class Secrets:
    """Every secret that the journey used or was given."""

    def __init__(self) -> None:
        self.seen = {MVP_TOKEN, JWT_SECRET, PASSWORD, SECOND, THIRD}

    def note(self, answer: httpx.Response, status: int = 200) -> dict[str, Any]:
        assert answer.status_code == status, answer.text
        body: dict[str, Any] = answer.json()
        for name in ("access_token", "refresh_token", "token"):
            if name in body:
                assert answer.headers["cache-control"] == "no-store"
                # The signature alone is enough to forge with, the whole token to use it.
                self.seen |= {body[name], body[name].rpartition(".")[2]}
        return body


@pytest.fixture
def replicas(clone_url: str, tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    variables = {
        "DATABASE_URL": clone_url,
        "DATA_DIR": str(tmp_path / "data"),
        "API_TOKEN": MVP_TOKEN,
        "JWT_SECRET": JWT_SECRET,
    }
    with ExitStack() as stack:
        first, second = (stack.enter_context(uvicorn_process(tmp_path, variables)) for _ in range(2))
        first.wait_until_up()
        second.wait_until_up()
        yield first, second


def test_growing_up(replicas: tuple[Server, Server], clone_url: str) -> None:
    secrets, (here, there) = Secrets(), replicas
    with client_of(here) as client, client_of(there) as other:
        founder = claim(client, other, secrets)
        member = welcome_bob(client, other, founder, secrets)
        script = give_bob_a_script(client, other, member, secrets)
        help_bob_who_forgot(client, other, founder, secrets)
        # The script is Bob's, not a session's: it outlived his new password, and ends with his account.
        assert other.get("/api/users/me", headers=script).json()["email"] == BOB
        bob_id = other.get("/api/users/me", headers=script).json()["id"]
        assert client.patch(f"/api/users/{bob_id}", headers=founder, json={"is_active": False}).status_code == 200
        assert other.get("/api/users/me", headers=script).status_code == 401
        assert client.delete(f"/api/users/{bob_id}", headers=founder).status_code == 204
        log = everything(other, founder)

    assert [entry["action"] for entry in log] == [
        "user_deleted",
        "user_changed",
        "signed_in",
        "sign_in_failed",
        "password_reset_refused",
        "password_reset",
        "password_reset_issued",
        "token_created",
        "permission_denied",
        "signed_in",
        "registered",
        "registration_refused",
        "invitation_created",
        "session_refreshed",
        "claim_refused",
        "signed_in",
        "claimed",
        "token_revoked",
        "token_created",
        "user_created",
    ]
    assert {entry["user_email"] for entry in log if entry["user_id"] == bob_id} == {BOB}
    *requests, _, _ = log  # but for what the first start left
    assert all(entry["request_id"] and entry["ip_address"] == "127.0.0.1" for entry in requests)

    for server in replicas:
        server.stop()
    written = {
        "the log": json.dumps(log).encode(),
        "the database": dump(clone_url),
        "what one replica printed": here.output().encode(),
        "what the other printed": there.output().encode(),
    }
    for place, text in written.items():
        assert len(text) > 100
        for secret in secrets.seen:
            assert secret.encode() not in text, f"a secret is in {place}"


def claim(client: httpx.Client, other: httpx.Client, secrets: Secrets) -> dict[str, str]:
    """The founder becomes Ann, on one replica; the other one knows at once."""
    before = client.get("/api/users/me", headers=bearer()).json()
    claimed = secrets.note(
        client.post("/api/auth/claim", headers=bearer(), json={"email": ANN, "password": PASSWORD, "username": "ann"})
    )
    assert claimed["user"] | {"has_password": True} == claimed["user"]
    assert (claimed["user"]["id"], claimed["user"]["created_at"]) == (before["id"], before["created_at"])
    assert other.get("/api/users/me", headers=bearer()).status_code == 401
    again = other.post("/api/auth/claim", headers=bearer(), json={"email": ANN, "password": PASSWORD})
    assert (again.status_code, again.json()["code"]) == (409, "already_claimed")
    assert other.get("/api/users/me", headers=bearer(claimed["access_token"])).json()["username"] == "ann"
    refreshed = secrets.note(other.post("/api/auth/refresh", json={"refresh_token": claimed["refresh_token"]}))
    return bearer(refreshed["access_token"])


def welcome_bob(client: httpx.Client, other: httpx.Client, founder: dict[str, str], secrets: Secrets) -> dict[str, str]:
    body = {"role": "member", "email": BOB}
    invitation = secrets.note(client.post("/api/invitations", headers=founder, json=body), 201)["token"]
    bob = {"password": SECOND, "invitation": invitation}
    stranger = other.post("/api/auth/register", json=bob | {"email": "eve@example.test"})
    assert (stranger.status_code, stranger.json()["code"]) == (403, "invalid_invitation")
    joined = secrets.note(other.post("/api/auth/register", json=bob | {"email": BOB}), 201)
    assert (joined["user"]["role"], joined["scope"]) == ("member", "read write")
    member = bearer(joined["access_token"])
    assert client.get("/api/users", headers=member).status_code == 403
    return member


def give_bob_a_script(
    client: httpx.Client, other: httpx.Client, member: dict[str, str], secrets: Secrets
) -> dict[str, str]:
    body = {"name": "script", "scopes": ["read", "write"]}
    script = bearer(secrets.note(client.post("/api/tokens", headers=member, json=body), 201)["token"])
    assert other.get("/api/sessions", headers=script).json()["items"][0]["current"] is False
    return script


def help_bob_who_forgot(client: httpx.Client, other: httpx.Client, founder: dict[str, str], secrets: Secrets) -> None:
    (bob,) = client.get("/api/users", headers=founder, params={"q": "bob"}).json()["items"]
    reset = secrets.note(client.post(f"/api/users/{bob['id']}/password-reset", headers=founder), 201)["token"]
    assert other.post("/api/auth/password/reset", json={"token": reset, "new_password": THIRD}).status_code == 204
    used = client.post("/api/auth/password/reset", json={"token": reset, "new_password": SECOND})
    assert (used.status_code, used.json()["code"]) == (400, "invalid_reset_token")
    form = {"grant_type": "password", "username": BOB, "password": SECOND}
    old = other.post("/api/auth/token", data=form)
    assert (old.status_code, old.json()["error"]) == (400, "invalid_grant")
    secrets.note(client.post("/api/auth/token", data=form | {"password": THIRD}))


def everything(client: httpx.Client, founder: dict[str, str]) -> list[dict[str, Any]]:
    """The whole activity log, page by page, newest first."""
    entries: list[dict[str, Any]] = []
    wanted = {"limit": "5"}
    while True:
        page = client.get("/api/activity", headers=founder, params=wanted).json()
        entries += page["items"]
        if page["next_cursor"] is None:
            return entries
        wanted["cursor"] = page["next_cursor"]


def client_of(server: Server) -> httpx.Client:
    return httpx.Client(base_url=server.url, trust_env=False, timeout=20)
