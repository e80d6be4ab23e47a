"""What a sign-in leaves behind, which refresh tokens are refused, and how sessions end."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.identity.activity import Origin
from app.identity.sessions import EndReason, TokenPair
from tests.support.forgery import Forger
from tests.support.identity import Service, execute
from tests.support.sessions import MINUTE, ORIGIN, Accounts, seconds

pytestmark = pytest.mark.anyio


@pytest.fixture
def accounts(service: Service) -> Accounts:
    return Accounts(service)


@pytest.fixture
def user(accounts: Accounts) -> int:
    return accounts.add()


@pytest.fixture
def pair(accounts: Accounts, user: int) -> TokenPair:
    return accounts.open(user)


class TestOpen:
    async def test_the_row(self, accounts: Accounts, user: int, pair: TokenPair) -> None:
        row = accounts.row(pair.session_id)
        assert (row["user_id"], row["ip_address"], row["user_agent"]) == (user, ORIGIN.address, ORIGIN.user_agent)
        assert (row["ended_at"], row["end_reason"]) == (None, None)
        assert row["last_activity_at"] == row["created_at"]
        assert row["expires_at"] - row["created_at"] == timedelta(days=30)
        assert abs(row["created_at"].replace(tzinfo=UTC) - datetime.now(UTC)) < MINUTE

    async def test_the_tokens_say_the_same(self, accounts: Accounts, user: int, pair: TokenPair) -> None:
        row = accounts.row(pair.session_id)
        common: dict[str, Any] = {
            "iss": "trading-backend",
            "aud": "trading-backend",
            "sub": str(user),
            "sid": str(pair.session_id),
            "iat": seconds(row["created_at"]),
        }
        access, refresh = accounts.claims(pair.access_token), accounts.claims(pair.refresh_token)
        assert access == common | {"jti": row["access_token_jti"], "exp": common["iat"] + 900}
        assert refresh == common | {"jti": row["refresh_token_jti"], "exp": seconds(row["expires_at"])}
        assert access["jti"] != refresh["jti"]
        assert pair.expires_in == 900

    async def test_who_does_not_say_where_from(self, accounts: Accounts, user: int) -> None:
        row = accounts.row(accounts.open(user, Origin(None, "")).session_id)
        assert (row["ip_address"], row["user_agent"]) == (None, None)

    async def test_a_long_user_agent_is_cut(self, accounts: Accounts, user: int) -> None:
        row = accounts.row(accounts.open(user, Origin(None, "🗝" * 501)).session_id)
        assert row["user_agent"] == "🗝" * 500

    @pytest.mark.parametrize(
        ("role", "scope"), [("owner", "read write admin"), ("member", "read write"), ("beta_tester", "read write")]
    )
    async def test_the_scope_is_what_the_role_allows(self, accounts: Accounts, role: str, scope: str) -> None:
        pair = accounts.open(accounts.add(role=role))
        assert (pair.scope, accounts.refresh(pair.refresh_token).scope) == (scope, scope)

    async def test_the_last_sign_in_is_not_its_business(self, accounts: Accounts, user: int, pair: TokenPair) -> None:
        accounts.refresh(pair.refresh_token)
        (row,) = execute(accounts.url, "SELECT last_login_at FROM users WHERE id = :id", id=user)
        assert row["last_login_at"] is None

    async def test_a_pair_is_printed_without_its_tokens(self, pair: TokenPair) -> None:
        assert pair.access_token not in repr(pair)
        assert pair.refresh_token not in repr(pair)


class TestRefused:
    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE user_sessions SET ended_at = timezone('utc', now()) WHERE user_id = :id",
            "UPDATE user_sessions SET expires_at = timezone('utc', now()) WHERE user_id = :id",
            "UPDATE user_sessions SET last_activity_at = last_activity_at - interval '14 days' WHERE user_id = :id",
            "UPDATE users SET is_active = false WHERE id = :id",
            "DELETE FROM user_sessions WHERE user_id = :id",
            "DELETE FROM users WHERE id = :id",
        ],
    )
    async def test_when_the_session_or_its_user_is_gone(
        self, accounts: Accounts, user: int, pair: TokenPair, change: str
    ) -> None:
        new = accounts.refresh(pair.refresh_token)
        execute(accounts.url, change, id=user)
        assert accounts.is_refused(new.refresh_token)
        assert accounts.is_refused(pair.refresh_token)

    async def test_almost_idle_is_not(self, accounts: Accounts, pair: TokenPair) -> None:
        accounts.age(pair.session_id, last_activity_at=timedelta(days=13, hours=23))
        accounts.refresh(pair.refresh_token)

    async def test_an_access_token(self, accounts: Accounts, pair: TokenPair) -> None:
        assert accounts.is_refused(pair.access_token)
        assert accounts.row(pair.session_id)["ended_at"] is None

    @pytest.mark.parametrize(
        "change",
        [
            lambda claims: {"sub": str(int(claims["sub"]) + 1)},
            lambda claims: {"sid": str(int(claims["sid"]) + 1_000)},
            lambda claims: {"exp": int(datetime.now(UTC).timestamp()) - 1, "iat": claims["iat"] - 60},
            lambda claims: {"iat": claims["iat"] + 120},
        ],
        ids=["another user", "another session", "expired", "of the future"],
    )
    async def test_claims_that_fit_no_session(
        self, accounts: Accounts, pair: TokenPair, change: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> None:
        forger = Forger(pair.refresh_token, accounts.secret)
        assert accounts.is_refused(forger.with_claims(**change(forger.claims)))
        accounts.refresh(pair.refresh_token)


class TestEnd:
    async def test_all(self, accounts: Accounts, user: int) -> None:
        pairs, other = [accounts.open(user) for _ in range(3)], accounts.open(accounts.add())
        assert accounts.end(user, EndReason.PASSWORD_RESET) == 3
        assert [accounts.row(pair.session_id)["end_reason"] for pair in pairs] == ["password_reset"] * 3
        assert accounts.row(other.session_id)["ended_at"] is None
        assert all(accounts.is_refused(pair.refresh_token) for pair in pairs)

    async def test_all_but_one(self, accounts: Accounts, user: int) -> None:
        kept, *others = [accounts.open(user).session_id for _ in range(3)]
        assert accounts.end(user, but=kept) == 2
        assert accounts.row(kept)["ended_at"] is None
        assert all(accounts.row(other)["ended_at"] for other in others)

    async def test_only_one(self, accounts: Accounts, user: int) -> None:
        ended, *others = [accounts.open(user).session_id for _ in range(3)]
        assert accounts.end(user, only=ended) == 1
        assert [accounts.row(other)["ended_at"] for other in others] == [None, None]

    async def test_somebody_elses_not_even_by_its_id(self, accounts: Accounts, pair: TokenPair) -> None:
        assert accounts.end(accounts.add(), only=pair.session_id) == 0
        assert accounts.row(pair.session_id)["ended_at"] is None

    async def test_what_has_ended_keeps_its_reason(self, accounts: Accounts, user: int, pair: TokenPair) -> None:
        accounts.end(user, EndReason.LOGOUT)
        before = accounts.row(pair.session_id)
        assert accounts.end(user, EndReason.DEACTIVATION) == 0
        assert accounts.row(pair.session_id) == before
