"""What a service does beside answering: again and again, and at its end."""

import asyncio
import threading
import time
from pathlib import Path
from threading import Event

import pytest
from anyio import to_thread
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError

from app import lifespan, pruning
from app.lifespan import regularly
from tests.support.identity import add_token, add_user, execute
from tests.support.prunable import fill, left
from tests.support.service import bearer, in_process, settings_for

pytestmark = pytest.mark.anyio

USED = "SELECT FROM api_tokens WHERE last_used_at IS NOT NULL"


async def until(found: str, url: str) -> None:
    """Return once the query finds a row."""
    for _ in range(1000):
        if execute(url, found):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(found)


async def test_what_was_used_is_noted_while_it_runs(
    clone_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that whoever is killed has lost an interval at most."""
    monkeypatch.setattr(lifespan, "NOTE_USES", 0.1)
    async with in_process(settings_for(clone_url, tmp_path)) as client:
        for name in ("ann", "bob"):
            user = add_user(clone_url, f"{name}@example.test")
            assert (await client.get("/api/users/me", headers=bearer(add_token(clone_url, user)))).status_code == 200
            await until(f"SELECT FROM api_tokens WHERE user_id = {user} AND last_used_at IS NOT NULL", clone_url)


async def test_and_at_the_end(clone_url: str, tmp_path: Path) -> None:
    async with in_process(settings_for(clone_url, tmp_path)) as client:
        token = add_token(clone_url, add_user(clone_url, "ann@example.test"))
        assert (await client.get("/api/users/me", headers=bearer(token))).status_code == 200
        assert execute(clone_url, USED) == []
    assert len(execute(clone_url, USED)) == 1


async def test_what_is_of_no_use_is_deleted_while_it_runs(
    clone_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifespan, "PRUNE", 0.1)
    async with in_process(settings_for(clone_url, tmp_path, activity_retention_days=1)):
        for _ in range(2):
            execute(
                clone_url,
                "INSERT INTO activity_log (action_type, details, timestamp) "
                "VALUES ('slept', '{}', timezone('utc', now()) - interval '2 days')",
            )
            await until("SELECT WHERE NOT EXISTS (SELECT FROM activity_log WHERE action_type = 'slept')", clone_url)


async def test_who_leaves_in_the_middle_of_it_waits_for_one_batch(
    clone_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one does not begin, and nothing is written afterwards."""
    monkeypatch.setattr(lifespan, "PRUNE", 0.1)
    monkeypatch.setattr(pruning, "BATCH", 10)
    add_user(clone_url, "ann@example.test")
    fill(clone_url, "idempotency_keys", old=100)
    deleting, go_on = Event(), Event()

    def dawdle(_: Connection, __: object, statement: str, *___: object) -> None:
        if statement.startswith("DELETE FROM idempotency_keys"):
            deleting.set()
            assert go_on.wait(10)

    event.listen(Engine, "before_cursor_execute", dawdle)
    try:
        async with in_process(settings_for(clone_url, tmp_path)):
            await to_thread.run_sync(deleting.wait, 10)
            asyncio.get_running_loop().call_later(0.2, go_on.set)
    finally:
        event.remove(Engine, "before_cursor_execute", dawdle)
    assert not timers()
    assert left(clone_url)["idempotency_keys"] == 90


def timers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "timer"]


class TestRegularly:
    async def test_a_database_that_fails_ends_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        """It is tried again, and at the end too; the log says so, and nothing of what was to be written."""
        attempts = 0

        def work(_: Event) -> None:
            nonlocal attempts
            attempts += 1
            raise OperationalError("UPDATE secrets", {}, Exception("gone"))

        async with regularly(0.01, work, at_the_end=True):
            for _ in range(1000):
                await asyncio.sleep(0.01)
                if attempts >= 3:
                    break
        assert attempts > 3
        told = [record.getMessage() for record in caplog.records if record.name == "app.lifespan"]
        assert told == ["what is done every 0 s failed: OperationalError"] * attempts

    async def test_a_bug_ends_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        attempts = 0

        def work(_: Event) -> None:
            nonlocal attempts
            attempts += 1
            raise ZeroDivisionError

        async with regularly(0.01, work):
            for _ in range(1000):
                await asyncio.sleep(0.01)
                if attempts >= 3:
                    break
        assert attempts >= 3
        assert caplog.text.count("ZeroDivisionError") >= attempts

    @pytest.mark.parametrize("at_the_end", [True, False])
    async def test_the_end(self, at_the_end: bool) -> None:
        done: list[str] = []
        async with regularly(60, lambda _: done.append("done"), at_the_end=at_the_end):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)
        assert done == ["done"] * at_the_end

    async def test_who_leaves_waits_for_what_is_being_done(self) -> None:
        """It is told to stop, and is over; what is done at the end comes after it."""
        steps: list[str] = []
        begun = Event()

        def work(stopping: Event) -> None:
            steps.append("begins")
            begun.set()
            assert stopping.wait(10)
            time.sleep(0.1)
            steps.append("ends")

        async with regularly(0.01, work, at_the_end=True):
            await to_thread.run_sync(begun.wait, 10)
        assert steps == ["begins", "ends", "begins", "ends"]
        assert not timers()

    async def test_a_cancellation_does_so_too(self) -> None:
        begun, ended = Event(), Event()

        def work(stopping: Event) -> None:
            begun.set()
            assert stopping.wait(10)
            ended.set()

        async def serve() -> None:
            async with regularly(0.01, work):
                await asyncio.sleep(60)

        serving = asyncio.create_task(serve())
        await to_thread.run_sync(begun.wait, 10)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(serving, 10)
        assert ended.is_set()
        assert not timers()
