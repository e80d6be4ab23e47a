"""Whatever is done in whatever order: a recommendation is in the status that a model in a few lines says."""

from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

import pytest
from anyio import from_thread, to_thread
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, rule, run_state_machine_as_test
from sqlalchemy import Connection, create_engine, text

from tests.features.recommendations.support import CLOSE, DISMISS, EXECUTE, FUTURE, GOOD, Caller, good, new_caller
from tests.support.accounts import refusal
from tests.support.identity import Service

pytestmark = pytest.mark.anyio

MOVES = {"pending": {"executed": EXECUTE, "dismissed": DISMISS}, "executed": {"closed": CLOSE}}
STATUSES = ["pending", "executed", "dismissed", "expired", "closed"]


class Machine(RuleBasedStateMachine):
    """Runs in a thread that the event loop of the service has started."""

    caller: ClassVar[Caller]
    connection: ClassVar[Connection]
    numbers: Bundle[int] = Bundle("numbers")

    def __init__(self) -> None:
        super().__init__()
        self.connection.execute(text("DELETE FROM ai_recommendations WHERE user_id = :id"), {"id": self.caller.id})
        self.model: dict[int, dict[str, Any]] = {}
        """What is answered of each, oldest first."""

    @rule(target=numbers, expires_at=st.sampled_from([None, FUTURE]))
    def create(self, expires_at: str | None) -> int:
        new = self.ask(self.caller.create, expires_at=expires_at)
        assert new == new | GOOD | {"status": "pending", "expires_at": expires_at, "executed_at": None}
        self.model[new["id"]] = new
        return int(new["id"])

    @rule(number=numbers, to=st.sampled_from(["executed", "dismissed", "closed"]))
    def move(self, number: int, to: str) -> None:
        body = {"executed": EXECUTE, "dismissed": DISMISS, "closed": CLOSE}[to]
        before = self.model[number]
        answer = from_thread.run(self.caller.patch, number, body)
        if to in MOVES.get(before["status"], {}):
            after = good(answer)
            decided = {"executed_at": after["executed_at"]} if to == "executed" else {}
            score = {"accuracy_score": "91.000000000"} if to == "closed" else {}
            assert after == before | body | decided | score
            assert after["executed_at"] or to == "dismissed"
            self.model[number] = after
        else:
            assert refusal(answer) == (409, "invalid_transition")

    @rule(number=numbers)
    def expire(self, number: int) -> None:
        moved = "UPDATE ai_recommendations SET expires_at = timestamp '2024-01-01' WHERE id = :id"
        self.connection.execute(text(moved), {"id": number})
        row = self.model[number]
        row |= {"expires_at": "2024-01-01T00:00:00Z"}
        row |= {"status": "expired"} if row["status"] == "pending" else {}
        self.read(number)

    @rule(status=st.sampled_from([None, *STATUSES]))
    def list(self, status: str | None) -> None:
        params = {"status": status} if status else {}
        found = good(from_thread.run(lambda: self.caller.get(**params)))["items"]
        assert found == [row for row in reversed(self.model.values()) if status in {None, row["status"]}]

    def read(self, number: int) -> None:
        assert self.ask(self.caller.read, number) == self.model[number]

    def ask(self, call: Callable[..., Coroutine[Any, Any, dict[str, Any]]], *args: Any, **more: Any) -> dict[str, Any]:
        return from_thread.run(lambda: call(*args, **more))


@pytest.mark.slow
async def test_states(service: Service) -> None:
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    effort = settings(
        deadline=None, derandomize=True, max_examples=15, stateful_step_count=20, suppress_health_check=checks
    )
    engine = create_engine(service.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        Machine.caller, Machine.connection = new_caller(service), connection
        await to_thread.run_sync(lambda: run_state_machine_as_test(Machine, settings=effort))
    engine.dispose()
