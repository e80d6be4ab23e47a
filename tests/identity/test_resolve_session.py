"""Access tokens as bearer tokens: whom they stand for, until when, and that no forgery does."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.core.settings import B64TOKEN
from app.identity.dependencies import MAXIMUM_TOKEN_LENGTH
from app.identity.resolve import resolve
from app.identity.sessions import TokenPair
from app.web.middleware import MAX_BODY
from app.web.session import transaction
from tests.support.forgery import Forger, encode, forgeries
from tests.support.identity import (
    INVALID,
    Service,
    add_session,
    add_token,
    application,
    checkouts,
    execute,
    statements,
    without_request_id,
)
from tests.support.service import bearer, in_process, settings_for
from tests.support.sessions import DAY, MINUTE, Accounts

pytestmark = pytest.mark.anyio

ME, REFRESH = "/api/users/me", "/api/auth/refresh"


@pytest.fixture
def accounts(service: Service) -> Accounts:
    return Accounts(service)


@pytest.fixture
def user(accounts: Accounts) -> int:
    return accounts.add()


@pytest.fixture
def pair(accounts: Accounts, user: int) -> TokenPair:
    return accounts.open(user)


async def test_it_stands_for_its_user(accounts: Accounts, user: int, pair: TokenPair) -> None:
    answer = await accounts.me(pair.access_token)
    assert (answer.status_code, answer.json()["id"]) == (200, user)


async def test_it_may_what_its_role_may(service: Service, accounts: Accounts) -> None:
    for role, status in (("owner", 200), ("member", 403), ("beta_tester", 403)):
        token = accounts.open(accounts.add(role=role)).access_token
        assert (await service.client.get("/api/users", headers=bearer(token))).status_code == status
        body = {"name": "script", "scopes": ["read"]}
        assert (await service.client.post("/api/tokens", headers=bearer(token), json=body)).status_code == 201


async def test_it_is_good_after_a_rotation_too(accounts: Accounts, pair: TokenPair) -> None:
    """The other tab still has it."""
    new = accounts.refresh(pair.refresh_token)
    for token in (pair.access_token, new.access_token):
        assert (await accounts.me(token)).status_code == 200


async def test_every_refusal_is_the_same(accounts: Accounts, user: int, pair: TokenPair) -> None:
    now, forger = int(datetime.now(UTC).timestamp()), Forger(pair.access_token, accounts.secret)
    assert (await accounts.me(forger.with_claims(iat=now + 30))).status_code == 200, "the forger can sign"
    other = accounts.open(accounts.add())
    tokens = {
        **{name: token for name, token in forgeries(forger).items() if travels(token)},
        "refresh token": pair.refresh_token,
        "expired": forger.with_claims(iat=now - 60, exp=now),
        "of the future": forger.with_claims(iat=now + 120),
        "for the session of another": forger.with_claims(sid=str(other.session_id)),
        "for another user": forger.with_claims(sub=str(user + 1)),
        "for no session": forger.with_claims(sid=str(2**31 - 1)),
        "for no user": forger.with_claims(sub=str(2**31 - 1)),
    }
    reference = without_request_id(await accounts.me("x" * 40))
    assert reference[0]["www-authenticate"] == INVALID
    answers = {name: await accounts.me(token) for name, token in tokens.items()}
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(tokens, 401)
    assert [name for name, answer in answers.items() if without_request_id(answer) != reference] == []


def travels(token: str) -> bool:
    """Whether a client can send it at all, and the header be understood; others are refused before."""
    return len(token) <= MAXIMUM_TOKEN_LENGTH and B64TOKEN.fullmatch(token) is not None


def fits_the_body(token: str) -> bool:
    """Whether it gets past the limits that hold for every body."""
    return len(token) < MAX_BODY and token.isascii()


async def test_nor_does_a_forgery_refresh(service: Service, accounts: Accounts, pair: TokenPair) -> None:
    before = accounts.everything()
    forged = forgeries(Forger(pair.refresh_token, accounts.secret))
    tokens = {name: token for name, token in forged.items() if fits_the_body(token)} | {"access": pair.access_token}
    answers = {
        name: await service.client.post(REFRESH, json={"refresh_token": token}) for name, token in tokens.items()
    }
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(tokens, 401)
    assert {answer.json()["code"] for answer in answers.values()} == {"invalid_token"}
    assert accounts.everything() == before


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
async def test_what_happens_counts_at_once(accounts: Accounts, user: int, pair: TokenPair, change: str) -> None:
    assert (await accounts.me(pair.access_token)).status_code == 200
    execute(accounts.url, change, id=user)
    answer = await accounts.me(pair.access_token)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, INVALID)


async def test_a_change_of_role_counts_at_once(service: Service, accounts: Accounts) -> None:
    user = accounts.add(role="owner")
    token = accounts.open(user).access_token
    for role, status in (("member", 403), ("owner", 200)):
        execute(accounts.url, "UPDATE users SET role = :role WHERE id = :id", role=role, id=user)
        assert (await service.client.get("/api/users", headers=bearer(token))).status_code == status


@pytest.mark.parametrize(
    ("ages", "left"),
    [
        ({}, 15 * MINUTE),
        ({"expires_at": 30 * DAY - 5 * MINUTE}, 5 * MINUTE),
        ({"last_activity_at": 14 * DAY - 10 * MINUTE}, 10 * MINUTE),
        ({"expires_at": 30 * DAY - 5 * MINUTE, "last_activity_at": 14 * DAY - MINUTE}, MINUTE),
    ],
    ids=["the token", "the session", "idleness", "whatever is first"],
)
async def test_it_is_good_as_long_as_its_age_allows(
    accounts: Accounts, pair: TokenPair, ages: dict[str, timedelta], left: timedelta
) -> None:
    accounts.age(pair.session_id, **ages)
    with transaction(accounts.engine) as session:
        lives_for = resolve(session, accounts.sessions, pair.access_token).lives_for
    assert left.total_seconds() - 30 < lives_for <= left.total_seconds() + 1


class TestCost:
    async def test_a_good_token_costs_one_query(self, accounts: Accounts, pair: TokenPair) -> None:
        with statements() as executed:
            assert (await accounts.me(pair.access_token)).status_code == 200
        assert len(executed) == 1

    async def test_a_bad_signature_costs_none(self, accounts: Accounts, pair: TokenPair) -> None:
        forger = Forger(pair.access_token, "another secret")
        with statements() as executed, checkouts() as handed_out:
            for token in (forger.token(), pair.refresh_token, pair.access_token[:-1]):
                assert (await accounts.me(token)).status_code == 401
        assert (executed, handed_out) == ([], [])


@pytest.mark.parametrize("shape", ["{}.{}.{}", "a.b.c-0123456789-0123456789-0123456789", "...{}", "{}"])
async def test_the_configured_token_may_look_like_one(clone_url: str, tmp_path: Path, shape: str) -> None:
    """It may be anything that can travel as a bearer token."""
    header = encode(json.dumps({"alg": "HS256", "typ": "at+jwt", "kid": "0123456789abcdef"}).encode())
    token = shape.format(header, encode(b"{}"), encode(bytes(32)))
    async with in_process(settings_for(clone_url, tmp_path, api_token=token)) as client:
        assert (await client.get(ME, headers=bearer(token))).status_code == 200
        assert (await client.get(ME, headers=bearer(add_session(client, 1)))).status_code == 200
        assert (await client.get(ME, headers=bearer(add_token(clone_url, 1)))).status_code == 200


async def test_the_secret_decides_and_the_previous_one_still_counts(clone_url: str, tmp_path: Path) -> None:
    old, new = "old-0f4c5cbbe1c24d1d9a7f4d5f0d9c", "new-b7c0e2a94d5e4f9f8f0e6d1c2b3a"

    async def statuses(*tokens: str, **secrets: Any) -> list[int]:
        async with in_process(settings_for(clone_url, tmp_path, **secrets)) as client:
            fresh = add_session(client, 1)
            tokens = (*tokens, fresh)
            kept.append(fresh)
            return [(await client.get(ME, headers=bearer(token))).status_code for token in tokens]

    kept: list[str] = []
    assert await statuses(jwt_secret=old) == [200]
    assert await statuses(kept[0], jwt_secret=new, jwt_secret_previous=old) == [200, 200]
    assert await statuses(*kept, jwt_secret=new) == [401, 200, 200]


async def test_two_services_over_one_database_agree(service: Service, accounts: Accounts, pair: TokenPair) -> None:
    """As replicas do, that share a secret; another secret is another service."""
    settings = application(service.client).state.settings
    async with in_process(settings) as replica:
        answer: httpx.Response = await replica.get(ME, headers=bearer(pair.access_token))
        assert answer.status_code == 200
        again = await replica.post(REFRESH, json={"refresh_token": pair.refresh_token})
        assert again.json()["refresh_token"] == accounts.refresh(pair.refresh_token).refresh_token
