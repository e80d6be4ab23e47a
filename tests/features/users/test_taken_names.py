"""Names that somebody has: refused to everybody else, in every spelling, whoever comes first."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.features.users.support import ME, Person, add_person, events, refusal
from tests.support.identity import Service, execute

pytestmark = pytest.mark.anyio

FULL_WIDTH = 0xFEE0
"""From an ASCII character to its wide form, which NFKC takes back."""


@pytest.fixture
def ann(service: Service) -> Person:
    return add_person(service)


async def patch(service: Service, person: Person, body: dict[str, Any]) -> httpx.Response:
    return await service.client.patch(ME, json=body, headers=person.headers)


async def me(service: Service, person: Person) -> dict[str, Any]:
    body: dict[str, Any] = (await service.client.get(ME, headers=person.headers)).json()
    return body


@pytest.fixture
def bob(service: Service) -> Person:
    bob = add_person(service)
    execute(
        service.url,
        "UPDATE users SET username = 'Bob' || id, alpaca_account_id = 'PA' || id WHERE id = :id",
        id=bob.id,
    )
    return bob


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("email", "{email}", "email_taken"),
        ("email", "{upper}", "email_taken"),
        ("email", "{wide}", "email_taken"),
        ("username", "Bob{id}", "username_taken"),
        ("username", "bOB{id}", "username_taken"),
        ("alpaca_account_id", "PA{id}", "alpaca_account_taken"),
    ],
)
async def test_it_is_refused_whole(
    service: Service, ann: Person, bob: Person, name: str, value: str, code: str
) -> None:
    before = await me(service, ann)
    wide = chr(ord(bob.email[0]) + FULL_WIDTH) + bob.email[1:]
    value = value.format(id=bob.id, email=bob.email, upper=bob.email.upper(), wide=wide)
    answer = await patch(service, ann, {"full_name": "Not kept", name: value})
    assert refusal(answer) == (409, code)
    assert bob.email not in answer.json()["detail"]
    assert await me(service, ann) == before
    (event,) = events(service.url, ann.id)
    assert (event["action_type"], event["details"]) == ("user_change_refused", {"reason": code})
    assert (event["actor_id"], event["user_email"]) == (ann.id, ann.email)


async def test_ones_own_in_another_spelling_is_not(service: Service, ann: Person) -> None:
    await patch(service, ann, {"username": "spelling"})
    for body in ({"email": ann.email.upper()}, {"username": "SPELLING"}, {"email": ann.email}):
        answer = await patch(service, ann, body)
        assert answer.status_code == 200
        assert answer.json().items() >= body.items()


async def test_what_somebody_gave_up_is_free(service: Service, ann: Person, bob: Person) -> None:
    await patch(service, bob, {"username": None, "email": f"new{bob.id}@example.test"})
    answer = await patch(service, ann, {"username": f"bob{bob.id}", "email": bob.email})
    assert answer.status_code == 200


async def test_of_many_at_once_one_gets_it(service: Service) -> None:
    people = [add_person(service) for _ in range(8)]
    body = {"username": "wanted"}
    answers = await asyncio.gather(*(patch(service, person, body) for person in people))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"username_taken"}
