"""What the report says of revocations: whether they are heard, how soon, and what to do where they are not."""

import time
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest

from app.db.engine import application_name
from app.identity.revocations import REVOCATIONS
from tests.support.identity import execute, statements

pytestmark = pytest.mark.anyio

TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE application_name = :name AND datname = current_database()
"""


async def report_of(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/api/health/detailed")
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


async def report_when(
    client: httpx.AsyncClient, *, listening: bool, again: Callable[[], object] = bool
) -> dict[str, Any]:
    """The first one that says so, while something is done again and again."""
    deadline = time.monotonic() + 10
    while True:
        await anyio.to_thread.run_sync(again)
        report = await report_of(client)
        if report["dependencies"]["revocations"]["listening"] == listening:
            return report
        assert time.monotonic() < deadline, report


async def test_they_are_heard(mvp: httpx.AsyncClient) -> None:
    report = await report_of(mvp)
    revocations = report["dependencies"]["revocations"]
    assert report["status"] == "healthy"
    assert 0 < revocations["lag_ms"] < 1000
    assert revocations == {
        "status": "healthy",
        "latency_ms": revocations["lag_ms"],
        "detail": None,
        "listening": True,
        "lag_ms": revocations["lag_ms"],
    }


async def test_a_trigger_was_disabled(mvp: httpx.AsyncClient, clone_url: str) -> None:
    healthy = await report_of(mvp)
    execute(clone_url, "ALTER TABLE api_tokens DISABLE TRIGGER revocations_on_update")
    report = await report_when(mvp, listening=False)
    assert (report["status"], report.keys()) == ("degraded", healthy.keys())
    assert report["dependencies"]["revocations"] == {
        "status": "degraded",
        "latency_ms": 0.0,
        "detail": f"every request asks the database: {REVOCATIONS.unguarded}",
        "listening": False,
        "lag_ms": None,
    }
    with statements() as asked:
        assert (await mvp.get("/api/users/me")).status_code == 200
    assert any("api_tokens" in statement for statement in asked)
    execute(clone_url, "ALTER TABLE api_tokens ENABLE ALWAYS TRIGGER revocations_on_update")
    assert (await report_when(mvp, listening=True))["status"] == "healthy"


async def test_a_lost_connection_is_told_until_there_is_another(mvp: httpx.AsyncClient, clone_url: str) -> None:
    report = await report_when(
        mvp, listening=False, again=lambda: execute(clone_url, TERMINATE, name=application_name("listener"))
    )
    revocations = report["dependencies"]["revocations"]
    assert (report["status"], revocations["status"], revocations["lag_ms"]) == ("degraded", "degraded", None)
    assert revocations["detail"].startswith("every request asks the database: ")
    assert (await report_when(mvp, listening=True))["status"] == "healthy"
