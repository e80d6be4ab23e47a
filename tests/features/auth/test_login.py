"""Signing in with an address or a username, and what comes of it."""

import asyncio
from datetime import UTC, datetime, timedelta
from time import monotonic

import httpx
import pytest

from app.features.auth import flows
from tests.support.accounts import PASSWORD, add_account, sign_in, user_row
from tests.support.identity import add_user, execute
from tests.support.service import bearer

pytestmark = pytest.mark.anyio

LOGIN = "/api/auth/login"
FULLWIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
"""ASCII as it is typed on some keyboards."""


@pytest.fixture(scope="module")
def ann(service: tuple[str, object]) -> int:
    return add_account(service[0], "Ann.Müller@Example.test", username="Ann.Mueller")


class TestTheName:
    @pytest.mark.parametrize(
        "name",
        [
            "Ann.Müller@Example.test",
            "ann.müller@example.test",
            "ANN.MÜLLER@EXAMPLE.TEST",
            "ann.mu\N{COMBINING DIAERESIS}ller@example.test",
            "ann".translate(FULLWIDTH) + ".müller@example.test",
            "ann.müller@example.test".translate(FULLWIDTH),
            "Ann.Mueller",
            "ann.mueller",
            "ANN.MUELLER",
            "ANN".translate(FULLWIDTH) + ".Mueller",
        ],
    )
    async def test_is_an_address_or_a_username_in_any_spelling(
        self, client: httpx.AsyncClient, ann: int, name: str
    ) -> None:
        answer = await sign_in(client, name)
        assert answer.status_code == 200, answer.text
        me = await client.get("/api/users/me", headers=bearer(answer.json()["access_token"]))
        assert me.json()["id"] == ann

    @pytest.mark.parametrize(
        "name",
        [
            "ann.müller",
            "example.test",
            " ann.mueller",
            "ann.mueller ",
            "ann_mueller",
            "%",
            "аnn.mueller",  # noqa: RUF001 - the first letter is Cyrillic
            "ann.muller@example.test",
        ],
    )
    async def test_is_no_pattern_and_no_part(self, client: httpx.AsyncClient, ann: int, name: str) -> None:
        assert (await sign_in(client, name)).status_code == 401

    async def test_full_case_folding(self, client: httpx.AsyncClient, url: str) -> None:
        add_account(url, "groß@straße.test")
        for name in ("GROSS@STRASSE.TEST", "groß@STRAẞE.test"):
            assert (await sign_in(client, name)).status_code == 200

    async def test_an_address_comes_before_a_username(self, client: httpx.AsyncClient, url: str) -> None:
        """Usernames of older deployments may look like somebody's address."""
        add_account(url, "thief@example.test", username="Bob@example.test")
        bob = add_account(url, "bob@example.test")
        answer = await sign_in(client, "bob@Example.test")
        me = await client.get("/api/users/me", headers=bearer(answer.json()["access_token"]))
        assert me.json()["id"] == bob


class TestTheAnswer:
    async def test_is_what_rfc_6749_has(self, client: httpx.AsyncClient, ann: int) -> None:
        answer = await sign_in(client, "ann.mueller")
        body = answer.json()
        assert list(body) == ["access_token", "token_type", "expires_in", "refresh_token", "scope"]
        assert (body["token_type"], body["expires_in"]) == ("bearer", 900)
        assert answer.headers["cache-control"] == "no-store"
        again = (await sign_in(client, "ann.mueller")).json()
        assert {body["access_token"], body["refresh_token"]}.isdisjoint({again["access_token"], again["refresh_token"]})

    @pytest.mark.parametrize(
        ("role", "scope"), [("owner", "read write admin"), ("member", "read write"), ("beta_tester", "read write")]
    )
    async def test_the_scope_is_the_roles(self, client: httpx.AsyncClient, url: str, role: str, scope: str) -> None:
        add_account(url, f"{role}@example.test", role=role)
        body = (await sign_in(client, f"{role}@example.test")).json()
        assert body["scope"] == scope
        users = await client.get("/api/users", headers=bearer(body["access_token"]))
        assert users.status_code == (200 if "admin" in scope else 403)

    async def test_it_opens_a_session(self, client: httpx.AsyncClient, url: str, ann: int) -> None:
        headers = {"User-Agent": "Mozilla/5.0 " + "x" * 600, "X-Forwarded-For": "192.0.2.77"}
        body = {"username": "ann.mueller", "password": PASSWORD}
        answer = await client.post(LOGIN, json=body, headers=headers)
        assert answer.status_code == 200
        (row,) = execute(url, "SELECT * FROM user_sessions WHERE ip_address = '192.0.2.77'")
        assert (row["user_id"], row["user_agent"], row["ended_at"]) == (ann, headers["User-Agent"][:500], None)
        sessions = await client.get("/api/sessions", headers=bearer(answer.json()["access_token"]))
        assert [each["id"] for each in sessions.json()["items"] if each["current"]] == [row["id"]]

    async def test_the_account_itself_does_not_change(self, client: httpx.AsyncClient, url: str, ann: int) -> None:
        execute(url, "UPDATE users SET updated_at = '2024-01-01', last_login_at = NULL WHERE id = :id", id=ann)
        before = user_row(url, ann)
        assert (await sign_in(client, "ann.mueller")).status_code == 200
        after = user_row(url, ann)
        assert {name for name in before if before[name] != after[name]} == {"last_login_at"}
        assert abs(datetime.now(UTC).replace(tzinfo=None) - after["last_login_at"]) < timedelta(minutes=1)

    async def test_a_bearer_token_is_not_looked_at(self, client: httpx.AsyncClient, ann: int) -> None:
        body = {"username": "ann.mueller", "password": PASSWORD}
        assert (await client.post(LOGIN, json=body, headers=bearer("garbage"))).status_code == 200


class TestItsTime:
    async def test_every_refusal_takes_as_long(
        self, client: httpx.AsyncClient, url: str, ann: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add_user(url, "nothing@example.test")
        add_account(url, "gone@example.test", is_active=False)
        monkeypatch.setattr(flows, "REFUSAL_TAKES", 0.9)

        async def seconds(name: str, password: str) -> float:
            began = monotonic()
            assert (await sign_in(client, name, password)).status_code == 401
            return monotonic() - began

        tries = [("nobody", "x"), ("nothing@example.test", "x"), ("ann.mueller", "x"), ("gone@example.test", PASSWORD)]
        taken = await asyncio.gather(*(seconds(*each) for each in tries))
        assert min(taken) >= 0.9
        assert max(taken) < 0.9 + 2

    async def test_nobody_waits_for_a_success(
        self, client: httpx.AsyncClient, ann: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(flows, "REFUSAL_TAKES", 30)
        began = monotonic()
        assert (await sign_in(client, "ann.mueller")).status_code == 200
        assert monotonic() - began < 5
