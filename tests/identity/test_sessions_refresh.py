"""Refresh tokens are good once, with a grace of ten seconds; whoever reuses one later ends the session."""

from datetime import timedelta

import pytest

from app.core.errors import InvalidToken
from app.identity.activity import Origin
from app.identity.jwt import SigningKeys, new_jti
from app.identity.sessions import Lifetimes, RefreshTokenReused, Sessions, TokenPair
from tests.support.forgery import Forger
from tests.support.identity import Service
from tests.support.sessions import DAY, MINUTE, Accounts, seconds

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


class TestRotation:
    async def test_both_tokens_are_new(self, accounts: Accounts, pair: TokenPair) -> None:
        accounts.age(pair.session_id, created_at=DAY, last_activity_at=DAY)
        before, new = accounts.row(pair.session_id), accounts.refresh(pair.refresh_token)
        after = accounts.row(pair.session_id)
        access, refresh = accounts.claims(new.access_token), accounts.claims(new.refresh_token)
        assert (access["jti"], refresh["jti"]) == (after["access_token_jti"], after["refresh_token_jti"])
        assert {before["access_token_jti"], before["refresh_token_jti"]}.isdisjoint({access["jti"], refresh["jti"]})
        assert access["iat"] == refresh["iat"] == seconds(after["last_activity_at"])
        assert (refresh["exp"], new.expires_in) == (seconds(before["expires_at"]), 900)
        assert after["last_activity_at"] - before["last_activity_at"] >= DAY
        kept = ("id", "user_id", "created_at", "expires_at", "ip_address", "user_agent", "ended_at")
        assert [after[name] for name in kept] == [before[name] for name in kept]

    async def test_it_goes_on_and_on(self, accounts: Accounts, pair: TokenPair) -> None:
        tokens = [pair.refresh_token]
        for _ in range(4):
            tokens.append(accounts.refresh(tokens[-1]).refresh_token)
        assert len(set(tokens)) == 5
        assert accounts.row(pair.session_id)["ended_at"] is None

    async def test_it_is_put_down(self, accounts: Accounts, user: int, pair: TokenPair) -> None:
        accounts.refresh(pair.refresh_token, Origin("192.0.2.9", "curl", "request-2"))
        (event,) = accounts.events(pair.session_id)
        assert (event["action_type"], event["user_id"], event["actor_id"]) == ("session_refreshed", user, user)
        assert (event["ip_address"], event["user_agent"], event["request_id"]) == ("192.0.2.9", "curl", "request-2")

    async def test_exchanges_nobody_may_repeat_are_forgotten(self, accounts: Accounts, pair: TokenPair) -> None:
        other = accounts.open(accounts.add())
        accounts.refresh(other.refresh_token)
        accounts.age_exchanges(other.session_id, MINUTE)
        second = accounts.refresh(pair.refresh_token)
        accounts.age_exchanges(pair.session_id, timedelta(seconds=10))
        accounts.refresh(second.refresh_token)
        jti = accounts.claims(second.refresh_token)["jti"]
        assert [row["jti"] for row in accounts.exchanges(pair.session_id)] == [jti]
        assert len(accounts.exchanges(other.session_id)) == 1

    async def test_no_token_outlives_its_session(self, accounts: Accounts, user: int) -> None:
        keys = SigningKeys(accounts.secret)
        pair = accounts.open(user, sessions=Sessions(keys, Lifetimes(DAY, MINUTE, DAY)))
        assert pair.expires_in == 60
        ends = accounts.claims(pair.refresh_token)["exp"]
        assert accounts.claims(pair.access_token)["exp"] == ends
        new = accounts.refresh(pair.refresh_token)
        assert 50 <= new.expires_in <= 60
        assert accounts.claims(new.access_token)["exp"] == accounts.claims(new.refresh_token)["exp"] == ends

    async def test_while_the_secret_is_changed(self, accounts: Accounts, pair: TokenPair) -> None:
        lifetimes = accounts.sessions.lifetimes
        rotated = Sessions(SigningKeys("another-secret-0123456789-abcdefgh", accounts.secret), lifetimes)
        new = accounts.refresh(pair.refresh_token, sessions=rotated)
        assert accounts.refresh(new.refresh_token, sessions=rotated).session_id == pair.session_id
        assert accounts.is_refused(new.refresh_token)


class TestGrace:
    """Two tabs, or an answer that was lost."""

    async def test_the_same_token_gives_the_same_successor(self, accounts: Accounts, pair: TokenPair) -> None:
        first = accounts.refresh(pair.refresh_token)
        before = accounts.everything()
        again = [accounts.refresh(pair.refresh_token) for _ in range(3)]
        assert {other.refresh_token for other in again} == {first.refresh_token}
        assert accounts.everything() == before
        assert len({accounts.claims(other.access_token)["jti"] for other in [first, *again]}) == 4
        assert {other.session_id for other in again} == {pair.session_id}

    async def test_the_successor_is_as_good_as_ever(self, accounts: Accounts, pair: TokenPair) -> None:
        accounts.refresh(pair.refresh_token)
        successor = accounts.refresh(pair.refresh_token)
        assert accounts.refresh(successor.refresh_token).refresh_token != successor.refresh_token

    async def test_also_when_the_successor_was_exchanged_too(self, accounts: Accounts, pair: TokenPair) -> None:
        second = accounts.refresh(pair.refresh_token)
        third = accounts.refresh(second.refresh_token)
        assert accounts.refresh(pair.refresh_token).refresh_token == second.refresh_token
        assert accounts.refresh(second.refresh_token).refresh_token == third.refresh_token

    @pytest.mark.parametrize(("ago", "good"), [(5, True), (8, True), (10, False), (11, False), (3600, False)])
    async def test_it_lasts_ten_seconds(self, accounts: Accounts, pair: TokenPair, ago: int, good: bool) -> None:
        new = accounts.refresh(pair.refresh_token)
        accounts.age_exchanges(pair.session_id, timedelta(seconds=ago))
        if good:
            successor = accounts.refresh(pair.refresh_token).refresh_token
            (exchange,) = accounts.exchanges(pair.session_id)
            said = {"iat": seconds(exchange["exchanged_at"])}
            assert accounts.claims(successor) == accounts.claims(new.refresh_token) | said, "as at the exchange"
        else:
            with pytest.raises(RefreshTokenReused):
                accounts.refresh(pair.refresh_token)


class TestReuse:
    async def test_it_ends_the_session_for_good(self, accounts: Accounts, user: int, pair: TokenPair) -> None:
        other = accounts.open(user)
        new = accounts.refresh(pair.refresh_token)
        accounts.age_exchanges(pair.session_id, MINUTE)
        with pytest.raises(RefreshTokenReused):
            accounts.refresh(pair.refresh_token, Origin("203.0.113.7", "thief", "request-3"))
        row = accounts.row(pair.session_id)
        assert (row["ended_at"] is not None, row["end_reason"]) == (True, "reuse")
        assert accounts.is_refused(pair.refresh_token)
        assert accounts.is_refused(new.refresh_token)
        assert accounts.row(other.session_id)["ended_at"] is None

    async def test_it_is_put_down(self, accounts: Accounts, user: int, pair: TokenPair) -> None:
        accounts.refresh(pair.refresh_token)
        accounts.age_exchanges(pair.session_id, MINUTE)
        with pytest.raises(RefreshTokenReused):
            accounts.refresh(pair.refresh_token, Origin("203.0.113.7", "thief", "request-3"))
        event = accounts.events(pair.session_id)[-1]
        assert (event["action_type"], event["user_id"]) == ("refresh_token_reused", user)
        assert (event["actor_id"], event["actor_kind"]) == (None, "anonymous"), "whoever it was"
        assert (event["ip_address"], event["user_agent"], event["request_id"]) == ("203.0.113.7", "thief", "request-3")

    async def test_a_token_of_long_ago(self, accounts: Accounts, pair: TokenPair) -> None:
        """Whose exchange is forgotten by now."""
        token = pair.refresh_token
        for _ in range(3):
            token = accounts.refresh(token).refresh_token
            accounts.age_exchanges(pair.session_id, MINUTE)
        with pytest.raises(RefreshTokenReused):
            accounts.refresh(pair.refresh_token)

    async def test_a_token_that_was_never_given_out(self, accounts: Accounts, pair: TokenPair) -> None:
        """Whoever signed it has the secret."""
        forged = Forger(pair.refresh_token, accounts.secret).with_claims(jti=new_jti())
        with pytest.raises(RefreshTokenReused):
            accounts.refresh(forged)
        assert accounts.row(pair.session_id)["end_reason"] == "reuse"

    async def test_the_answer_does_not_say_so(self) -> None:
        reused, invalid = RefreshTokenReused(), InvalidToken()
        assert [(e.status, e.code, e.title, str(e), e.headers, e.members) for e in (reused,)] == [
            (e.status, e.code, e.title, str(e), e.headers, e.members) for e in (invalid,)
        ]
