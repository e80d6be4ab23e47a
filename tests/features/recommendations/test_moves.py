"""Moves from status to status: those there are, and those there are not, which change nothing."""

import asyncio
from typing import Any

import pytest

from tests.features.recommendations.support import (
    CLOSE,
    DISMISS,
    EXECUTE,
    PAST,
    Caller,
    another_token,
    good,
    let_expire,
    new_caller,
)
from tests.support.accounts import faults, refusal
from tests.support.identity import Service, execute, insufficient

pytestmark = pytest.mark.anyio

STATUSES = ["pending", "executed", "dismissed", "expired", "closed", "overdue", "open", "Pending"]
MOVES: dict[str, dict[str, str]] = {"execute": EXECUTE, "dismiss": DISMISS, "close": CLOSE}
POSSIBLE = {("pending", "execute"), ("pending", "dismiss"), ("executed", "close")}
IMPOSSIBLE = [(status, move) for status in STATUSES for move in MOVES if (status, move) not in POSSIBLE]


@pytest.fixture(scope="module")
def caller(service: Service) -> Caller:
    return new_caller(service)


def add(caller: Caller, status: str) -> int:
    if status != "overdue":
        return caller.add(status=status)
    number = caller.add()
    let_expire(caller.service.url, number)
    return number


def stored(caller: Caller, number: int) -> str:
    (row,) = execute(caller.service.url, "SELECT r::text AS row FROM ai_recommendations r WHERE id = :id", id=number)
    text: str = row["row"]
    return text


class TestWhatThereIs:
    async def test_executed(self, caller: Caller) -> None:
        number = add(caller, "pending")
        before = await caller.read(number)
        after = await caller.move(number, {"status": "executed", "execution_price": "101.500000001"})
        assert after == before | {
            "status": "executed",
            "execution_price": "101.500000001",
            "executed_at": after["executed_at"],
        }
        assert await caller.read(number) == after
        (row,) = execute(
            caller.service.url,
            "SELECT timezone('utc', now()) - executed_at BETWEEN interval '0' AND interval '10 s' AS just_now "
            "FROM ai_recommendations WHERE id = :id",
            id=number,
        )
        assert row["just_now"]

    async def test_dismissed(self, caller: Caller) -> None:
        number = add(caller, "pending")
        before = await caller.read(number)
        after = await caller.move(number, DISMISS)
        assert after == before | {"status": "dismissed"} == await caller.read(number)

    @pytest.mark.parametrize("percent", [{}, {"actual_pnl_percent": None}, {"actual_pnl_percent": "-3.25"}])
    async def test_closed(self, caller: Caller, percent: dict[str, Any]) -> None:
        number = add(caller, "pending")
        before = await caller.move(number, EXECUTE)
        after = good(await caller.patch(number, CLOSE | percent))
        changed = {"status": "closed", "actual_pnl": "12.5", "actual_pnl_percent": percent.get("actual_pnl_percent")}
        assert after == before | changed | {"accuracy_score": "91.000000000"} == await caller.read(number)

    async def test_no_other_row_is_touched(self, caller: Caller) -> None:
        others = [add(caller, status) for status in STATUSES]
        before = [stored(caller, each) for each in others]
        number = add(caller, "pending")
        for body in (EXECUTE, CLOSE):
            await caller.move(number, body)
        assert [stored(caller, each) for each in others] == before


@pytest.mark.parametrize(("status", "move"), IMPOSSIBLE)
async def test_what_there_is_not_changes_nothing(caller: Caller, status: str, move: str) -> None:
    number = add(caller, status)
    before = stored(caller, number)
    answer = await caller.patch(number, MOVES[move])
    assert refusal(answer) == (409, "invalid_transition")
    shown, wanted = "expired" if status == "overdue" else status, MOVES[move]["status"]
    assert f"that is {shown} cannot become {wanted};" in answer.json()["detail"]
    assert stored(caller, number) == before


@pytest.mark.parametrize(
    ("status", "bodies"),
    [
        ("pending", [EXECUTE] * 10),
        ("pending", [DISMISS] * 10),
        ("pending", [EXECUTE, DISMISS] * 5),
        ("executed", [CLOSE] * 10),
    ],
)
async def test_of_ten_at_the_same_moment_one_succeeds(
    caller: Caller, status: str, bodies: list[dict[str, str]]
) -> None:
    number = add(caller, status)
    answers = await asyncio.gather(*(caller.patch(number, body) for body in bodies))
    (winner,) = [answer for answer in answers if answer.is_success]
    losers = [refusal(answer) for answer in answers if answer is not winner]
    assert losers == [(409, "invalid_transition")] * 9
    assert good(winner) == await caller.read(number)


INVALID = [
    ({}, "/status", "missing"),
    ({"execution_price": "1"}, "/status", "missing"),
    ({"status": None}, "/status", "union_tag_invalid"),
    ({"status": "open"}, "/status", "union_tag_invalid"),
    ({"status": "pending"}, "/status", "union_tag_invalid"),
    ({"status": "expired"}, "/status", "union_tag_invalid"),
    ({"status": "EXECUTED"}, "/status", "union_tag_invalid"),
    ({"status": "executed"}, "/execution_price", "missing"),
    (EXECUTE | {"execution_price": None}, "/execution_price", "decimal_type"),
    (EXECUTE | {"execution_price": "0"}, "/execution_price", "greater_than"),
    (EXECUTE | {"execution_price": "-1"}, "/execution_price", "greater_than"),
    (EXECUTE | {"execution_price": "NaN"}, "/execution_price", "decimal_parsing"),
    (EXECUTE | {"actual_pnl": "1"}, "/actual_pnl", "extra_forbidden"),
    (EXECUTE | {"executed_at": PAST}, "/executed_at", "extra_forbidden"),
    (DISMISS | {"execution_price": "1"}, "/execution_price", "extra_forbidden"),
    (DISMISS | {"symbol": "MSFT"}, "/symbol", "extra_forbidden"),
    ({"status": "closed"}, "/actual_pnl", "missing"),
    (CLOSE | {"actual_pnl": None}, "/actual_pnl", "decimal_type"),
    (CLOSE | {"actual_pnl": "Infinity"}, "/actual_pnl", "decimal_parsing"),
    (CLOSE | {"actual_pnl_percent": "1e400"}, "/actual_pnl_percent", "decimal_whole_digits"),
    (CLOSE | {"accuracy_score": "100"}, "/accuracy_score", "extra_forbidden"),
    ([EXECUTE], "", "model_attributes_type"),
    ("executed", "", "model_attributes_type"),
    (None, "", "model_attributes_type"),
]


@pytest.mark.parametrize(("body", "pointer", "code"), INVALID)
async def test_what_does_not_fit_is_named(caller: Caller, body: Any, pointer: str, code: str) -> None:
    number = add(caller, "pending")
    before = stored(caller, number)
    assert faults(await caller.patch(number, body)) == [(pointer, code)]
    assert stored(caller, number) == before


class TestWhoMay:
    async def test_another_ones_is_missing(self, service: Service, caller: Caller) -> None:
        number = add(caller, "pending")
        before = stored(caller, number)
        for role in ("member", "owner"):
            other = new_caller(service, role)
            foreign, missing = await other.patch(number, EXECUTE), await other.patch(2**31 - 1, EXECUTE)
            assert refusal(foreign) == (404, "not_found")
            assert foreign.json() | {"request_id": ""} == missing.json() | {"request_id": ""}
        assert stored(caller, number) == before

    async def test_who_may_only_read(self, caller: Caller) -> None:
        number = add(caller, "pending")
        answer = await another_token(caller, "read").patch(number, DISMISS)
        assert refusal(answer) == (403, "insufficient_scope")
        assert answer.headers["www-authenticate"] == insufficient("write")
        assert (await caller.read(number))["status"] == "pending"

    @pytest.mark.parametrize(("number", "status"), [(0, 404), (2**31, 404), (10**40, 404), ("x", 422), ("1.0", 422)])
    async def test_ids_nothing_can_have(self, caller: Caller, number: Any, status: int) -> None:
        assert refusal(await caller.patch(number, DISMISS))[0] == status

    async def test_nothing_is_deleted_or_replaced(self, caller: Caller) -> None:
        number = add(caller, "pending")
        for method in ("PUT", "DELETE", "POST"):
            url = f"/api/recommendations/{number}"
            answer = await caller.service.client.request(method, url, headers=caller.headers)
            assert refusal(answer) == (405, "method_not_allowed")
