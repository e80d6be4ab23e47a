"""The header Idempotency-Key: the first answer is given again, and nothing is done twice."""

from typing import Any

import pytest

from tests.features.recommendations.keys import OTHER, REUSED, grow_old, post, said
from tests.features.recommendations.support import (
    EXECUTE,
    GOOD,
    NDJSON,
    PAST,
    Caller,
    good,
    new_caller,
    spelled,
)
from tests.support.accounts import faults, refusal
from tests.support.identity import Service, execute

pytestmark = pytest.mark.anyio


@pytest.fixture
def caller(service: Service) -> Caller:
    return new_caller(service)


@pytest.fixture(scope="module")
def idle(service: Service) -> Caller:
    """Has no recommendations, and gets none."""
    return new_caller(service)


class TestTheSameAgain:
    @pytest.mark.parametrize(("body", "batch"), [(GOOD, False), ([GOOD, OTHER], True)])
    async def test_is_answered_the_same(self, caller: Caller, body: Any, batch: bool) -> None:
        first = await post(caller, body, "key-1", batch=batch)
        rows = caller.rows()
        assert (first.status_code, len(rows)) == (201, 1 + batch)
        for _ in range(3):
            assert said(await post(caller, body, "key-1", batch=batch)) == said(first)
        assert caller.rows() == rows

    async def test_after_it_was_executed(self, caller: Caller) -> None:
        first = await post(caller, GOOD, "key")
        number = good(first, 201)["id"]
        await caller.move(number, EXECUTE)
        rows = caller.rows()
        assert said(await post(caller, GOOD, "key")) == said(first)
        assert caller.rows() == rows
        assert (await caller.read(number))["status"] == "executed"

    @pytest.mark.parametrize(
        "again",
        [
            spelled({"confidence_score": "70", "recommendation_type": "buy", "symbol": "AAPL"}),
            spelled(GOOD, confidence_score="70"),
            spelled(GOOD, confidence_score="7e1"),
            spelled(GOOD, symbol='"aapl"'),
            spelled(GOOD, symbol='"\\u0041APL"'),
            b"\n" + spelled(GOOD) + b"  ",
            spelled(GOOD, reasoning="null", analysis_data="{ }"),
        ],
    )
    async def test_in_another_spelling(self, caller: Caller, again: bytes) -> None:
        first = await post(caller, GOOD, "key")
        assert said(await post(caller, again, "key")) == said(first)
        assert len(caller.rows()) == 1

    async def test_moments_and_analysis_data_spelled_otherwise(self, caller: Caller) -> None:
        more = {"expires_at": "2050-01-01T00:00:00Z", "analysis_data": {"a": 1, "b": {"c": 0.5, "d": [1, 2]}}}
        first = await post(caller, GOOD | more, "key")
        literals = {
            "expires_at": '"2050-01-01T02:00:00.000+02:00"',
            "analysis_data": '{"b": {"d": [1, 2], "c": 5e-1}, "a": 1}',
        }
        assert said(await post(caller, spelled(GOOD, **literals), "key")) == said(first)
        assert len(caller.rows()) == 1

    async def test_lines_and_lists_are_the_same(self, caller: Caller) -> None:
        first = await post(caller, [GOOD, OTHER], "key", batch=True)
        lines = b"\n" + spelled(GOOD) + b"\r\n\n" + spelled(OTHER) + b"\n"
        headers = {"Idempotency-Key": "key", "Content-Type": NDJSON}
        assert said(await caller.send(lines, headers, batch=True)) == said(first)
        assert len(caller.rows()) == 2

    async def test_every_digit_of_the_first_answer(self, caller: Caller) -> None:
        body = GOOD | {"suggested_entry_price": "123456789012345678.100000000", "analysis_data": {"b": 0.1, "a": "é"}}
        first = await post(caller, body, "key")
        assert said(await post(caller, body, "key")) == said(first)

    async def test_without_a_key_there_are_two(self, caller: Caller) -> None:
        assert good(await caller.post(GOOD), 201)["id"] != good(await caller.post(GOOD), 201)["id"]
        assert caller.keys() == 0


class TestAnotherBody:
    @pytest.mark.parametrize(
        "more",
        [
            {"symbol": "MSFT"},
            {"confidence_score": "70.000000001"},
            {"analysis_data": {"a": 1}},
            {"reasoning": ""},
            {"expires_at": "2050-01-01T00:00:00Z"},
        ],
    )
    async def test_is_refused(self, caller: Caller, more: dict[str, Any]) -> None:
        first = await post(caller, GOOD, "key")
        rows = caller.rows()
        answer = await post(caller, GOOD | more, "key")
        assert refusal(answer) == REUSED
        assert [error["pointer"] for error in answer.json()["errors"]] == ["header/Idempotency-Key"]
        assert caller.rows() == rows
        assert said(await post(caller, GOOD, "key")) == said(first)

    @pytest.mark.parametrize("body", [[OTHER, GOOD], [GOOD], [GOOD, OTHER, GOOD], [GOOD, GOOD]])
    async def test_of_a_batch(self, caller: Caller, body: list[Any]) -> None:
        first = await post(caller, [GOOD, OTHER], "key", batch=True)
        assert refusal(await post(caller, body, "key", batch=True)) == REUSED
        assert said(await post(caller, [GOOD, OTHER], "key", batch=True)) == said(first)
        assert len(caller.rows()) == 2


class TestKeysOfTheirOwn:
    async def test_each_user_has(self, service: Service, caller: Caller) -> None:
        other = new_caller(service)
        mine, theirs = await post(caller, GOOD, "key"), await post(other, OTHER, "key")
        assert (mine.status_code, theirs.status_code) == (201, 201)
        assert good(theirs, 201)["symbol"] == "MSFT"
        assert said(await post(caller, GOOD, "key")) == said(mine)
        assert refusal(await post(caller, OTHER, "key")) == REUSED
        assert (len(caller.rows()), len(other.rows())) == (1, 1)

    async def test_each_operation_has(self, caller: Caller) -> None:
        one, many = await post(caller, GOOD, "key"), await post(caller, [GOOD], "key", batch=True)
        assert good(many, 201) == {"ids": [good(one, 201)["id"] + 1]}
        assert said(await post(caller, GOOD, "key")) == said(one)
        assert said(await post(caller, [GOOD], "key", batch=True)) == said(many)
        assert len(caller.rows()) == 2

    async def test_they_are_told_apart_by_every_character(self, caller: Caller) -> None:
        for number, key in enumerate(("key", "KEY", '"key"', "key.", "k" * 254, "k" * 255), 1):
            good(await post(caller, GOOD, key), 201)
            assert len(caller.rows()) == number


class TestForgetting:
    async def test_after_a_day(self, caller: Caller) -> None:
        first = await post(caller, GOOD, "key")
        grow_old(caller)
        second = await post(caller, GOOD, "key")
        assert good(second, 201)["id"] > good(first, 201)["id"]
        assert said(await post(caller, GOOD, "key")) == said(second)
        assert len(caller.rows()) == 2

    async def test_not_before(self, caller: Caller) -> None:
        first = await post(caller, GOOD, "key")
        grow_old(caller, 23)
        assert said(await post(caller, GOOD, "key")) == said(first)
        assert refusal(await post(caller, OTHER, "key")) == REUSED

    async def test_another_body_is_new_then(self, caller: Caller) -> None:
        await post(caller, GOOD, "key")
        grow_old(caller)
        assert good(await post(caller, OTHER, "key"), 201)["symbol"] == "MSFT"
        assert refusal(await post(caller, GOOD, "key")) == REUSED

    async def test_an_old_key_stays_old_when_its_request_is_refused(self, caller: Caller) -> None:
        await post(caller, GOOD, "key")
        grow_old(caller)
        assert faults(await post(caller, GOOD | {"expires_at": PAST}, "key")) == [("/expires_at", "in_the_past")]
        good(await post(caller, OTHER, "key"), 201)
        assert len(caller.rows()) == 2

    async def test_old_keys_go_when_new_ones_come(self, service: Service, caller: Caller) -> None:
        execute(
            service.url,
            "INSERT INTO idempotency_keys (user_id, operation, key, fingerprint, answer, created_at) "
            "SELECT :id, 'recommend', 'old' || n, sha256(''), '{}', timezone('utc', now()) - interval '25 h' "
            "FROM generate_series(1, 150) AS n",
            id=caller.id,
        )
        await post(caller, GOOD, "new-1")
        assert caller.keys() == 51
        await post(caller, GOOD, "new-2")
        assert caller.keys() == 2


class TestRefusedRequests:
    @pytest.mark.parametrize(
        ("body", "batch"),
        [
            (GOOD | {"symbol": ""}, False),
            (GOOD | {"expires_at": PAST}, False),
            ([GOOD, GOOD | {"expires_at": PAST}], True),
            ([GOOD, GOOD | {"symbol": ""}], True),
            (b"{", False),
        ],
    )
    async def test_free_the_key(self, caller: Caller, body: Any, batch: bool) -> None:
        assert faults(await post(caller, body, "key", batch=batch))
        assert (caller.keys(), caller.rows()) == (0, [])
        answer = await post(caller, [GOOD] if batch else GOOD, "key", batch=batch)
        assert (answer.status_code, len(caller.rows())) == (201, 1)

    @pytest.mark.parametrize(
        ("key", "code"),
        [
            (b"", "string_too_short"),
            (b"k" * 256, "string_too_long"),
            (b"a b", "string_pattern_mismatch"),
            (b"a\tb", "string_pattern_mismatch"),
            (b"a\x00b", "string_pattern_mismatch"),
            (b"a\x7f", "string_pattern_mismatch"),
            (b"a\n", "string_pattern_mismatch"),
            ("schlüssel".encode(), "string_pattern_mismatch"),
            ("🗝".encode(), "string_pattern_mismatch"),
            (b"\xff", "string_pattern_mismatch"),
        ],
    )
    @pytest.mark.parametrize("batch", [False, True])
    async def test_what_is_no_key(self, idle: Caller, key: bytes, code: str, batch: bool) -> None:
        body = [GOOD] if batch else GOOD
        assert faults(await post(idle, body, key, batch=batch)) == [("header/Idempotency-Key", code)]
        assert (idle.rows(), idle.keys()) == ([], 0)
