"""`POST /api/users`: an owner makes an account for somebody."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.features.users.support import OWNER, USERS, counts, events, faults, refusal, user_row
from tests.support.accounts import PASSWORD, sign_in
from tests.support.identity import Service, execute

pytestmark = pytest.mark.anyio


async def create(service: Service, body: Any) -> httpx.Response:
    """`body` as JSON, surrogates and all."""
    headers = OWNER | {"Content-Type": "application/json"}
    return await service.client.post(USERS, content=json.dumps(body), headers=headers)


async def test_without_a_password(service: Service) -> None:
    body = {"email": "New@Example.test", "username": "New.1", "full_name": " New 🗝 ", "role": "member"}
    answer = await create(service, body)
    user = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{USERS}/{user['id']}"
    assert user == body | {
        "id": user["id"],
        "full_name": "New 🗝",
        "is_active": True,
        "has_password": False,
        "alpaca_account_id": None,
        "preferences": {},
        "created_at": user["created_at"],
        "updated_at": user["created_at"],
        "last_login_at": None,
    }
    assert (await service.client.get(answer.headers["location"], headers=OWNER)).json() == user
    assert (await sign_in(service.client, "new.1", PASSWORD)).status_code == 401


async def test_with_a_password(service: Service) -> None:
    body = {"email": "with@example.test", "role": "owner", "password": PASSWORD}
    answer = await create(service, body)
    assert (answer.status_code, answer.json()["has_password"], answer.json()["role"]) == (201, True, "owner")
    assert PASSWORD not in answer.text
    assert user_row(service.url, answer.json()["id"])["password_hash"].startswith("$argon2id$")
    assert (await sign_in(service.client, "WITH@example.test")).status_code == 200


async def test_the_log(service: Service) -> None:
    user = (await create(service, {"email": "logged@example.test", "role": "member", "password": PASSWORD})).json()
    (event,) = events(service.url, user["id"])
    assert (event["action_type"], event["user_email"]) == ("user_created", "logged@example.test")
    assert (event["actor_id"], event["actor_kind"], event["details"]) == (1, "mvp_token", {"role": "member"})


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"email": "taken@example.test"}, "email_taken"),
        ({"email": "TAKEN@example.TEST"}, "email_taken"),
        ({"email": "MVP@LOCALHOST"}, "email_taken"),
        ({"email": "free@example.test", "username": "MVP"}, "username_taken"),
    ],
)
async def test_names_that_are_taken(service: Service, body: dict[str, str], code: str) -> None:
    await create(service, {"email": "taken@example.test", "role": "member"})
    users, logged = counts(service.url)
    assert refusal(await create(service, body | {"role": "member"})) == (409, code)
    assert counts(service.url) == (users, logged + 1)
    event = events(service.url, None)[-1]
    assert (event["action_type"], event["details"], event["actor_id"]) == ("user_change_refused", {"reason": code}, 1)


async def test_no_two_users_share_what_they_do_not_have(service: Service) -> None:
    for number in range(2):
        body = {"email": f"nameless{number}@example.test", "role": "member", "username": None, "full_name": None}
        assert (await create(service, body)).status_code == 201


async def test_twenty_at_once_with_one_address(service: Service) -> None:
    spellings = ["race@example.test", "RACE@example.test", "Race@Example.Test", "race@EXAMPLE.test"] * 5
    answers = await asyncio.gather(*(create(service, {"email": email, "role": "member"}) for email in spellings))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 19
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"email_taken"}
    assert len(execute(service.url, "SELECT id FROM users WHERE lower(email) = 'race@example.test'")) == 1


GOOD = {"email": "good@example.test", "role": "member"}


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"role": "member"}, "/email", "missing"),
        ({"email": "good@example.test"}, "/role", "missing"),
        (GOOD | {"email": None}, "/email", "string_type"),
        (GOOD | {"email": "good"}, "/email", "email"),
        (GOOD | {"email": "good\0@example.test"}, "/email", "nul_character"),
        (GOOD | {"email": "good\udfff@example.test"}, "/email", "unpaired_surrogate"),
        (GOOD | {"username": "a b c"}, "/username", "username"),
        (GOOD | {"username": ""}, "/username", "username"),
        (GOOD | {"full_name": ""}, "/full_name", "string_too_short"),
        (GOOD | {"role": None}, "/role", "literal_error"),
        (GOOD | {"role": "admin"}, "/role", "literal_error"),
        (GOOD | {"role": "Owner"}, "/role", "literal_error"),
        (GOOD | {"role": "beta_tester"}, "/role", "literal_error"),
        (GOOD | {"role": ["owner"]}, "/role", "literal_error"),
        (GOOD | {"password": ""}, "/password", "password_too_short"),
        (GOOD | {"password": "short"}, "/password", "password_too_short"),
        (GOOD | {"password": "x" * 257}, "/password", "password_too_long"),
        (GOOD | {"password": "passwordpassword"}, "/password", "password_too_weak"),
        (GOOD | {"password": 123456789012}, "/password", "string_type"),
        (GOOD | {"is_active": False}, "/is_active", "extra_forbidden"),
        (GOOD | {"password_hash": "x"}, "/password_hash", "extra_forbidden"),
        (GOOD | {"id": 7}, "/id", "extra_forbidden"),
        ([GOOD], "", "model_attributes_type"),
        (None, "", "model_attributes_type"),
    ],
)
async def test_what_does_not_fit_is_named(service: Service, body: Any, pointer: str, code: str) -> None:
    before = counts(service.url)
    assert faults(await create(service, body)) == [(pointer, code)]
    assert counts(service.url) == before


async def test_their_own_name_is_no_password(service: Service) -> None:
    body = GOOD | {"full_name": "Quillon Varbethe", "password": "quillonvarbethe"}
    assert faults(await create(service, body)) == [("/password", "password_too_weak")]


async def test_a_huge_body(service: Service) -> None:
    assert refusal(await create(service, GOOD | {"full_name": "x" * 2_000_000})) == (413, "payload_too_large")
