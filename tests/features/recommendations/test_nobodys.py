"""Rows that belong to nobody: shown to owners who ask for them, and adopted by one."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.features.recommendations.support import (
    RECOMMENDATIONS,
    Caller,
    add_row,
    another_token,
    good,
    let_expire,
    new_caller,
)
from tests.support.accounts import faults, refusal, trail
from tests.support.identity import Service, execute, insufficient
from tests.support.service import bearer

pytestmark = pytest.mark.anyio


async def adopt(caller: Caller, ids: Any) -> httpx.Response:
    return await caller.service.client.post(f"{RECOMMENDATIONS}/adopt", headers=caller.headers, json={"ids": ids})


@pytest.fixture
def owner(service: Service) -> Caller:
    execute(service.url, "DELETE FROM ai_recommendations WHERE user_id IS NULL")
    return new_caller(service, "owner")


@pytest.fixture(scope="module")
def mvp_user(service: Service) -> Caller:
    return Caller(service, 1, bearer())


async def test_an_owner_sees_them(service: Service, owner: Caller) -> None:
    own = owner.add()
    orphans = [add_row(service.url, None, symbol=symbol) for symbol in ("AAPL", "MSFT", "AAPL")]
    assert await owner.listed(owner="none") == orphans[::-1]
    assert await owner.listed(owner="none", symbol="AAPL") == [orphans[2], orphans[0]]
    page = good(await owner.get(owner="none", limit=2))
    assert await owner.listed(owner="none", limit=2, cursor=page["next_cursor"]) == [orphans[0]]
    assert await owner.listed() == [own]
    assert (await owner.read(orphans[0], owner="none"))["symbol"] == "AAPL"
    assert refusal(await owner.get(orphans[0])) == (404, "not_found")
    assert refusal(await owner.get(own, owner="none")) == (404, "not_found")


async def test_nobody_else_does(service: Service, owner: Caller) -> None:
    orphan = add_row(service.url, None)
    for caller in (new_caller(service), another_token(owner, "read", "write")):
        for answer in (await caller.get(owner="none"), await caller.get(orphan, owner="none")):
            assert refusal(answer) == (403, "insufficient_scope")
            assert answer.headers["www-authenticate"] == insufficient("admin")
        assert await caller.listed() == []
        assert refusal(await caller.get(orphan)) == (404, "not_found")


async def test_they_expire_too(service: Service, owner: Caller) -> None:
    overdue, expired, own = add_row(service.url, None), add_row(service.url, None, status="expired"), owner.add()
    for number in (overdue, own):
        let_expire(service.url, number)
    assert await owner.listed(owner="none", status="expired") == [expired, overdue]
    assert await owner.listed(owner="none", status="pending") == []
    assert await owner.listed(status="expired") == [own]
    assert (await owner.read(overdue, owner="none"))["status"] == "expired"


async def test_rows_nobody_has_cannot_be_moved(service: Service, owner: Caller) -> None:
    orphan = add_row(service.url, None)
    assert refusal(await owner.patch(orphan, {"status": "dismissed"})) == (404, "not_found")
    assert (await owner.read(orphan, owner="none"))["status"] == "pending"


async def test_adoption(service: Service, owner: Caller) -> None:
    orphans = [add_row(service.url, None) for _ in range(3)]
    before = [await owner.read(number, owner="none") for number in orphans[:2]]
    answer = await adopt(owner, [orphans[1], orphans[0], orphans[1]])
    assert good(answer) == {"ids": orphans[:2]}
    assert [await owner.read(number) for number in orphans[:2]] == before
    assert await owner.listed(owner="none") == [orphans[2]]
    (event,) = trail(service.url, answer)
    assert (event["action_type"], event["user_id"]) == ("rows_adopted", owner.id)
    assert (event["resource_type"], event["resource_id"]) == ("recommendation", orphans[0])
    assert event["details"] == {"ids": orphans[:2]}


async def test_all_or_nothing(service: Service, owner: Caller) -> None:
    orphan, own, theirs = add_row(service.url, None), owner.add(), new_caller(service).add()
    for other in (own, theirs, 2**31 - 1):
        answer = await adopt(owner, [orphan, other])
        assert refusal(answer) == (404, "not_found")
        assert str(other) in answer.json()["detail"]
        assert await owner.listed(owner="none") == [orphan]
        assert trail(service.url, answer) == []


async def test_of_many_at_the_same_moment_one_adopts(service: Service, owner: Caller) -> None:
    orphans = [add_row(service.url, None) for _ in range(5)]
    owners = [owner, *(new_caller(service, "owner") for _ in range(4))]
    answers = await asyncio.gather(*(adopt(each, orphans) for each in owners))
    assert sorted(answer.status_code for answer in answers) == [200, 404, 404, 404, 404]
    for each, answer in zip(owners, answers, strict=True):
        assert await each.listed() == (orphans[::-1] if answer.is_success else [])


async def test_who_may_not_adopt(service: Service, owner: Caller) -> None:
    orphan = add_row(service.url, None)
    for caller in (new_caller(service), another_token(owner, "read", "write")):
        answer = await adopt(caller, [orphan])
        assert refusal(answer) == (403, "insufficient_scope")
    assert await owner.listed(owner="none") == [orphan]


@pytest.mark.parametrize(
    ("ids", "fault"),
    [
        ([], ("/ids", "too_short")),
        ([1] * 1001, ("/ids", "too_long")),
        ([0], ("/ids/0", "greater_than_equal")),
        ([1, 2**31], ("/ids/1", "less_than_equal")),
        (["1"], ("/ids/0", "int_type")),
        ([True], ("/ids/0", "int_type")),
        ([1.5], ("/ids/0", "int_type")),
        (None, ("/ids", "list_type")),
        ("none", ("/ids", "list_type")),
    ],
)
async def test_what_cannot_be_adopted(mvp_user: Caller, ids: Any, fault: tuple[str, str]) -> None:
    assert faults(await adopt(mvp_user, ids)) == [fault]
