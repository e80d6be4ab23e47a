"""Expiry: by the database's clock, and read correctly though nothing has written it down."""

import pytest

from tests.features.recommendations.support import (
    CLOSE,
    DISMISS,
    EXECUTE,
    GOOD,
    Caller,
    change,
    good,
    let_expire,
    new_caller,
)
from tests.support.accounts import refusal
from tests.support.identity import Service, execute

pytestmark = pytest.mark.anyio

SETTLED_AT_ONCE = 1000


@pytest.fixture
def caller(service: Service) -> Caller:
    return new_caller(service)


def statuses(caller: Caller) -> dict[str, int]:
    """How many rows the table holds of each."""
    found = execute(
        caller.service.url,
        "SELECT status, count(*) AS number FROM ai_recommendations WHERE user_id = :id GROUP BY status",
        id=caller.id,
    )
    return {row["status"]: row["number"] for row in found}


def add_overdue(caller: Caller, number: int) -> None:
    execute(
        caller.service.url,
        "INSERT INTO ai_recommendations "
        "(user_id, symbol, recommendation_type, confidence_score, analysis_data, status, created_at, expires_at) "
        "SELECT :id, 'AAPL', 'buy', 70, '{}', 'pending', timestamp '2024-01-01', "
        "timestamp '2024-01-02' + n * interval '1 s' FROM generate_series(1, :number) AS n",
        id=caller.id,
        number=number,
    )


class TestWhatIsOverdue:
    async def test_reads_as_expired(self, service: Service, caller: Caller) -> None:
        number, other = caller.add(), caller.add()
        before, text = await caller.read(number), caller.rows()
        assert before["status"] == "pending"
        let_expire(service.url, number)
        after = await caller.read(number)
        assert after == before | {"status": "expired", "expires_at": after["expires_at"]}
        assert [(item["id"], item["status"]) for item in good(await caller.get())["items"]] == [
            (other, "pending"),
            (number, "expired"),
        ]
        assert await caller.listed(status="expired") == [number]
        assert await caller.listed(status="pending") == [other]
        assert caller.rows()[1:] == text[1:]
        assert statuses(caller) == {"pending": 2}

    async def test_cannot_be_followed_any_more(self, service: Service, caller: Caller) -> None:
        number = caller.add()
        let_expire(service.url, number)
        before = caller.rows()
        for body in (EXECUTE, DISMISS, CLOSE):
            answer = await caller.patch(number, body)
            assert refusal(answer) == (409, "invalid_transition")
            assert "that is expired cannot" in answer.json()["detail"]
        assert caller.rows() == before

    async def test_from_the_very_moment_on(self, service: Service, caller: Caller) -> None:
        late, early = caller.add(), caller.add()
        change(service.url, late, "expires_at = timezone('utc', clock_timestamp())")
        change(service.url, early, "expires_at = timezone('utc', clock_timestamp()) + interval '1 minute'")
        assert (await caller.read(late))["status"] == "expired"
        assert (await caller.read(early))["status"] == "pending"
        assert (await caller.move(early, EXECUTE))["status"] == "executed"


@pytest.mark.parametrize("status", ["executed", "dismissed", "closed", "open"])
async def test_what_is_not_pending_does_not_expire(service: Service, caller: Caller, status: str) -> None:
    number = caller.add(status=status)
    let_expire(service.url, number)
    assert (await caller.read(number))["status"] == status
    assert await caller.listed(status="expired") == []
    await caller.create()
    assert statuses(caller) == {status: 1, "pending": 1}


async def test_an_executed_one_can_be_closed_after_its_time(service: Service, caller: Caller) -> None:
    number = (await caller.create())["id"]
    await caller.move(number, EXECUTE)
    let_expire(service.url, number)
    assert (await caller.move(number, CLOSE))["status"] == "closed"


async def test_without_a_time_never(service: Service, caller: Caller) -> None:
    number = caller.add()
    change(service.url, number, "created_at = timestamp '1970-01-01'")
    await caller.create()
    assert (await caller.read(number))["status"] == "pending"
    assert number in await caller.listed(status="pending")
    assert await caller.listed(status="expired") == []
    assert statuses(caller) == {"pending": 2}


class TestWritingItDown:
    async def test_some_at_a_time(self, service: Service, caller: Caller) -> None:
        add_overdue(caller, SETTLED_AT_ONCE + 5)
        forever, other = caller.add(), new_caller(service)
        add_overdue(other, 1)
        await caller.create()
        assert statuses(caller) == {"expired": SETTLED_AT_ONCE, "pending": 7}
        await caller.create()
        assert statuses(caller) == {"expired": SETTLED_AT_ONCE + 5, "pending": 3}
        assert statuses(other) == {"pending": 1}
        assert (await caller.read(forever))["status"] == "pending"

    async def test_changes_nothing_that_is_shown(self, caller: Caller) -> None:
        add_overdue(caller, 3)
        caller.add()
        before = [good(await caller.get(**params))["items"] for params in ({}, {"status": "expired"})]
        new = await caller.create()
        assert statuses(caller) == {"expired": 3, "pending": 2}
        after = [good(await caller.get(**params))["items"] for params in ({}, {"status": "expired"})]
        assert after == [[new, *before[0]], before[1]]

    async def test_changes_no_other_column(self, service: Service, caller: Caller) -> None:
        add_overdue(caller, 2)
        columns = (
            "SELECT (to_jsonb(r) - 'status')::text AS row FROM ai_recommendations r WHERE user_id = :id ORDER BY id"
        )
        before = execute(service.url, columns, id=caller.id)
        await caller.create()
        assert statuses(caller)["expired"] == 2
        assert execute(service.url, columns, id=caller.id)[:2] == before

    async def test_a_batch_does_too(self, caller: Caller) -> None:
        add_overdue(caller, 2)
        good(await caller.send([GOOD], {}, batch=True), 201)
        assert statuses(caller) == {"expired": 2, "pending": 1}

    async def test_a_refused_request_does_not(self, caller: Caller) -> None:
        add_overdue(caller, 2)
        assert refusal(await caller.post(GOOD | {"expires_at": "2020-01-01T00:00:00Z"}))[0] == 422
        assert statuses(caller) == {"pending": 2}
