"""Whoever meets somebody else's lock waits for a while, and is told so."""

import pytest
from sqlalchemy import text

from app.db import lock_waits
from app.db.engine import connect
from tests.features.recommendations.support import DISMISS, GOOD, RECOMMENDATIONS, Caller, good, new_caller
from tests.support.accounts import refusal
from tests.support.identity import Service, execute

pytestmark = pytest.mark.anyio


@pytest.fixture
def caller(service: Service, monkeypatch: pytest.MonkeyPatch) -> Caller:
    monkeypatch.setattr(lock_waits, "LOCK_TIMEOUT", 100)
    return new_caller(service)


async def test_a_row_that_another_is_at(caller: Caller) -> None:
    number, url = caller.add(), caller.service.url
    before = caller.rows()
    with connect(url) as other, other.begin():
        other.execute(text("SELECT FROM ai_recommendations WHERE id = :id FOR UPDATE"), {"id": number})
        answer = await caller.patch(number, DISMISS)
        assert refusal(answer) == (503, "service_unavailable")
        assert answer.headers["retry-after"]
        assert await caller.listed() == [number], "reading waits for nobody"
    assert caller.rows() == before
    await caller.move(number, DISMISS)


async def test_a_key_whose_first_request_does_not_end(caller: Caller) -> None:
    url = caller.service.url
    good(await caller.post(GOOD, key="again"), 201)
    with connect(url) as other, other.begin():
        other.execute(text("SELECT FROM idempotency_keys WHERE user_id = :id FOR UPDATE"), {"id": caller.id})
        assert refusal(await caller.post(GOOD, key="again")) == (503, "service_unavailable")
    assert len(caller.rows()) == 1
    good(await caller.post(GOOD, key="again"), 201)
    assert len(caller.rows()) == 1


async def test_rows_of_nobody_that_another_adopts(caller: Caller) -> None:
    url, number = caller.service.url, caller.add()
    execute(url, "UPDATE ai_recommendations SET user_id = NULL WHERE id = :id", id=number)
    execute(url, "UPDATE users SET role = 'owner' WHERE id = :id", id=caller.id)
    with connect(url) as other, other.begin():
        other.execute(text("SELECT FROM ai_recommendations WHERE id = :id FOR UPDATE"), {"id": number})
        answer = await caller.service.client.post(
            f"{RECOMMENDATIONS}/adopt", headers=caller.headers, json={"ids": [number]}
        )
        assert refusal(answer) == (503, "service_unavailable")
    assert caller.rows() == []
