"""Templates that belong to nobody: shown to owners who ask for them, and adopted by one."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.features.order_templates.support import NO_ID, Caller, add_row, another_token, good, new_caller, stored
from tests.support.accounts import faults, refusal, trail
from tests.support.identity import Service, execute, insufficient

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def owner(service: Service) -> Caller:
    return new_caller(service, "owner")


@pytest.fixture(scope="module")
def others(service: Service, owner: Caller) -> list[Caller]:
    """A member, and the owner with a token that has not all of the scopes."""
    return [new_caller(service), another_token(owner, "read", "write")]


@pytest.fixture(autouse=True)
def nobodys(service: Service, owner: Caller) -> list[int]:
    """Three templates; there are no others."""
    execute(service.url, "TRUNCATE order_templates")
    return [add_row(service.url, None, symbol=symbol) for symbol in ("AAPL", "MSFT", "AAPL")]


async def test_an_owner_sees_them(owner: Caller, nobodys: list[int]) -> None:
    own = owner.add()
    assert await owner.listed(owner="none") == nobodys[::-1]
    assert await owner.listed(owner="none", symbol="aapl") == [nobodys[2], nobodys[0]]
    page = good(await owner.send("GET", owner="none", limit=2))
    assert await owner.listed(owner="none", limit=2, cursor=page["next_cursor"]) == [nobodys[0]]
    assert (await owner.read(nobodys[1], owner="none"))["symbol"] == "MSFT"
    assert await owner.listed() == await owner.listed(owner="me") == [own]
    assert refusal(await owner.send("GET", own, owner="none")) == (404, "not_found")
    assert refusal(await owner.send("GET", nobodys[0])) == (404, "not_found")


async def test_reading_them_takes_no_more_than_to_read_and_admin(owner: Caller, nobodys: list[int]) -> None:
    assert await another_token(owner, "read", "admin").listed(owner="none") == nobodys[::-1]
    answer = await another_token(owner, "admin").send("GET", owner="none")
    assert refusal(answer) == (403, "insufficient_scope")
    assert answer.headers["www-authenticate"] == insufficient("read")


async def test_nobody_else_does(owner: Caller, others: list[Caller], nobodys: list[int]) -> None:
    for caller in others:
        for path in ("", nobodys[0], NO_ID):
            answer = await caller.send("GET", path, owner="none")
            assert_denied(answer, caller, "GET")
            assert "AAPL" not in answer.text
        assert await caller.listed() == []
        assert refusal(await caller.send("GET", nobodys[0])) == (404, "not_found")


def assert_denied(answer: httpx.Response, caller: Caller, method: str) -> None:
    assert refusal(answer) == (403, "insufficient_scope")
    assert answer.headers["www-authenticate"] == insufficient("admin")
    (event,) = trail(caller.service.url, answer)
    assert (event["action_type"], event["user_id"], event["actor_id"]) == ("permission_denied", caller.id, caller.id)
    assert event["details"] == {"method": method, "permission": "admin"}


@pytest.mark.parametrize(("method", "path"), [("PATCH", "{}"), ("DELETE", "{}"), ("POST", "{}/use")])
async def test_they_can_only_be_seen(owner: Caller, nobodys: list[int], method: str, path: str) -> None:
    before = stored(owner.service.url, nobodys[0])
    for params in ({}, {"owner": "none"}):
        answer = await owner.send(method, path.format(nobodys[0]), {}, **params)
        assert refusal(answer) == (404, "not_found")
    assert stored(owner.service.url, nobodys[0]) == before


async def test_adoption(owner: Caller, nobodys: list[int]) -> None:
    before = [await owner.read(number, owner="none") for number in nobodys[:2]]
    answer = await owner.adopt([nobodys[1], nobodys[0], nobodys[1]])
    assert good(answer) == {"ids": nobodys[:2]}
    after = [await owner.read(number) for number in nobodys[:2]]
    assert after == [row | {"updated_at": new["updated_at"]} for row, new in zip(before, after, strict=True)]
    assert await owner.listed() == nobodys[1::-1]
    assert await owner.listed(owner="none") == nobodys[2:]
    assert good(await owner.use(nobodys[0]))["symbol"] == "AAPL"
    (event,) = trail(owner.service.url, answer)
    assert (event["action_type"], event["user_id"], event["actor_id"]) == ("rows_adopted", owner.id, owner.id)
    assert (event["resource_type"], event["resource_id"]) == ("order_template", nobodys[0])
    assert event["details"] == {"ids": nobodys[:2]}


async def test_all_or_none(service: Service, owner: Caller, others: list[Caller], nobodys: list[int]) -> None:
    own, theirs = owner.add(), others[0].add()
    for other in (own, theirs, NO_ID):
        answer = await owner.adopt([*nobodys, other])
        assert refusal(answer) == (404, "not_found")
        assert str(other) in answer.json()["detail"]
        assert trail(service.url, answer) == []
    assert await owner.listed(owner="none") == nobodys[::-1]
    assert await owner.listed() == [own]
    assert await others[0].listed() == [theirs]


async def test_of_two_at_once_one_adopts(service: Service, owner: Caller, nobodys: list[int]) -> None:
    owners = [owner, new_caller(service, "owner")]
    answers = await asyncio.gather(*(each.adopt(nobodys) for each in owners * 2))
    (winner,) = [place for place, answer in enumerate(answers) if answer.is_success]
    assert [answer.status_code for answer in answers if not answer.is_success] == [404] * 3
    assert await owners[winner % 2].listed() == nobodys[::-1]
    assert await owners[1 - winner % 2].listed() == []
    assert [len(trail(service.url, answer)) for answer in answers] == [int(answer.is_success) for answer in answers]


async def test_who_may_not_adopt(owner: Caller, others: list[Caller], nobodys: list[int]) -> None:
    for caller in others:
        assert_denied(await caller.adopt(nobodys), caller, "POST")
    assert await owner.listed(owner="none") == nobodys[::-1]


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"ids": []}, ("/ids", "too_short")),
        ({"ids": [1] * 1001}, ("/ids", "too_long")),
        ({"ids": [0]}, ("/ids/0", "greater_than_equal")),
        ({"ids": [1, 2**31]}, ("/ids/1", "less_than_equal")),
        ({"ids": ["1"]}, ("/ids/0", "int_type")),
        ({"ids": [1.0]}, ("/ids/0", "int_type")),
        ({"ids": [True]}, ("/ids/0", "int_type")),
        ({"ids": None}, ("/ids", "list_type")),
        ({}, ("/ids", "missing")),
        ({"ids": [1], "user_id": 2}, ("/user_id", "extra_forbidden")),
        ([1], ("", "model_attributes_type")),
    ],
)
async def test_what_cannot_be_adopted(owner: Caller, body: Any, fault: tuple[str, str]) -> None:
    assert faults(await owner.send("POST", "adopt", body)) == [fault]


async def test_as_many_as_there_are_room_for(owner: Caller, nobodys: list[int]) -> None:
    assert good(await owner.adopt(nobodys * 333 + nobodys[:1])) == {"ids": nobodys}
