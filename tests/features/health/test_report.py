"""The health endpoints over a database that answers; field by field, and when its schema is not the code's."""

import re
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from app import __version__
from app.db.revisions import head_revision, revisions
from app.features.health import checks
from tests.support.identity import add_token, add_user, application, checkouts, execute, insufficient, statements
from tests.support.service import bearer

pytestmark = pytest.mark.anyio

DETAILED = "/api/health/detailed"
READY = "/api/health/ready"
PREVIOUS = revisions()[head_revision()]


async def report_of(client: httpx.AsyncClient, status: int = 200) -> dict[str, Any]:
    answer = await client.get(DETAILED)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert ("retry-after" in answer.headers) == (status == 503)
    body: dict[str, Any] = answer.json()
    return body


def set_revision(url: str, revision: str | None) -> None:
    execute(url, "UPDATE alembic_version SET version_num = :revision", revision=revision)


def is_now(time: str) -> bool:
    return time.endswith("Z") and abs(datetime.now(UTC) - datetime.fromisoformat(time)) < timedelta(seconds=10)


async def test_the_healthy_report(mvp: httpx.AsyncClient) -> None:
    report = await report_of(mvp)
    assert list(report) == [
        "status", "time", "version", "environment", "uptime_seconds", "auth", "dependencies", "system",
    ]  # fmt: skip
    assert (report["status"], report["version"], report["environment"]) == ("healthy", __version__, "development")
    assert is_now(report["time"])
    assert 0 <= report["uptime_seconds"] < 60
    assert report["auth"] == {"method": "mvp_token", "user_id": 1, "mvp_user": "open", "registration": "invite"}
    assert list(report["dependencies"]) == ["database", "schema", "revocations"]
    assert {each["status"] for each in report["dependencies"].values()} == {"healthy"}


async def test_the_database(mvp: httpx.AsyncClient) -> None:
    database = (await report_of(mvp))["dependencies"]["database"]
    assert re.fullmatch(r"PostgreSQL \d+\.\d+.*", database["engine"])
    assert 0 < database["latency_ms"] < 1000
    assert database == {
        "status": "healthy",
        "latency_ms": database["latency_ms"],
        "detail": None,
        "engine": database["engine"],
        "pool": {"size": 10, "overflow_limit": 5, "in_use": 0, "idle": database["pool"]["idle"]},
    }
    assert 1 <= database["pool"]["idle"] <= 10


async def test_the_schema(mvp: httpx.AsyncClient) -> None:
    schema = (await report_of(mvp))["dependencies"]["schema"]
    assert 0 < schema["latency_ms"] < 1000
    assert schema == {
        "status": "healthy",
        "latency_ms": schema["latency_ms"],
        "detail": None,
        "current_revision": head_revision(),
        "head_revision": head_revision(),
        "pending_revisions": [],
        "drift": [],
    }


async def test_the_system(mvp: httpx.AsyncClient) -> None:
    system = (await report_of(mvp))["system"]
    assert len(system["load_average"]) == 3
    assert 0 <= system["cpu_percent"] <= 100
    assert system["cpu_count"] >= 1
    assert 0 < system["process_memory_bytes"] < system["memory_total_bytes"]
    assert 0 < system["memory_available_bytes"] <= system["memory_total_bytes"]
    assert 0 < system["disk_free_bytes"] <= system["disk_total_bytes"]
    assert set(system) == {
        "cpu_count", "cpu_percent", "load_average", "memory_total_bytes", "memory_available_bytes",
        "process_memory_bytes", "disk_total_bytes", "disk_free_bytes",
    }  # fmt: skip


async def test_who_asks(mvp: httpx.AsyncClient, clone_url: str) -> None:
    user_id = add_user(clone_url, "ann@example.test")
    answer = await mvp.get(DETAILED, headers=bearer(add_token(clone_url, user_id, ["read"])))
    assert answer.json()["auth"] == {
        "method": "api_token", "user_id": user_id, "mvp_user": "open", "registration": "invite",
    }  # fmt: skip
    refused = await mvp.get(DETAILED, headers=bearer(add_token(clone_url, user_id, ["write"])))
    assert (refused.status_code, refused.headers["www-authenticate"]) == (403, insufficient("read"))
    assert "dependencies" not in refused.text


async def test_a_claimed_mvp_user(mvp: httpx.AsyncClient, clone_url: str) -> None:
    owner = bearer(add_token(clone_url, 1))
    execute(clone_url, "UPDATE api_tokens SET revoked_at = now() WHERE from_configuration")
    assert (await mvp.get(DETAILED, headers=owner)).json()["auth"]["mvp_user"] == "claimed"


async def test_connections_in_use_are_counted(mvp: httpx.AsyncClient) -> None:
    engine = application(mvp).state.engine
    with ExitStack() as stack:
        for _ in range(12):
            stack.enter_context(engine.connect())
        database = (await report_of(mvp))["dependencies"]["database"]
        assert (database["status"], database["pool"]["in_use"]) == ("healthy", 12)
    assert (await report_of(mvp))["dependencies"]["database"]["pool"]["in_use"] == 0


class TestRevision:
    """Read each time: what another process migrated is seen by the next report."""

    async def test_behind(self, mvp: httpx.AsyncClient, clone_url: str) -> None:
        healthy = await report_of(mvp)
        set_revision(clone_url, PREVIOUS)
        report = await report_of(mvp, 503)
        schema = report["dependencies"]["schema"]
        assert report.keys() == healthy.keys()
        assert (report["status"], schema["status"]) == ("unhealthy", "unhealthy")
        assert report["dependencies"]["database"]["status"] == "healthy"
        assert (schema["current_revision"], schema["pending_revisions"]) == (PREVIOUS, [head_revision()])
        assert "alembic upgrade head" in schema["detail"]
        set_revision(clone_url, head_revision())
        assert (await report_of(mvp))["status"] == "healthy"

    async def test_none_at_all(self, mvp: httpx.AsyncClient, clone_url: str) -> None:
        execute(clone_url, "DROP TABLE alembic_version")
        schema = (await report_of(mvp, 503))["dependencies"]["schema"]
        assert (schema["current_revision"], len(schema["pending_revisions"])) == (None, len(revisions()))

    async def test_newer_code_has_been_here(self, mvp: httpx.AsyncClient, clone_url: str) -> None:
        set_revision(clone_url, "ffffffffffff")
        report = await report_of(mvp)
        schema = report["dependencies"]["schema"]
        assert (report["status"], schema["status"], schema["pending_revisions"]) == ("degraded", "degraded", [])
        assert schema["current_revision"] == "ffffffffffff"
        assert "newer code" in schema["detail"]
        assert (await mvp.get(READY)).status_code == 200

    @pytest.mark.parametrize("other", ["0952a611cdfb", "ffffffffffff"])
    async def test_several_are_a_fault(self, mvp: httpx.AsyncClient, clone_url: str, other: str) -> None:
        execute(clone_url, "INSERT INTO alembic_version VALUES (:other)", other=other)
        schema = (await report_of(mvp, 503))["dependencies"]["schema"]
        assert schema["current_revision"] == ", ".join(sorted([other, head_revision()]))
        assert "verify_schema.py" in schema["detail"]
        assert (await mvp.get(READY)).status_code == 503


class TestDrift:
    async def test_what_the_code_cannot_work_with(self, mvp: httpx.AsyncClient, clone_url: str) -> None:
        execute(clone_url, "ALTER TABLE order_templates DROP COLUMN last_used_at")
        report = await report_of(mvp, 503)
        schema = report["dependencies"]["schema"]
        assert (report["status"], schema["status"]) == ("unhealthy", "unhealthy")
        assert (schema["current_revision"], schema["pending_revisions"]) == (head_revision(), [])
        assert "verify_schema.py" in schema["detail"]
        assert any("last_used_at" in line for line in schema["drift"])

    async def test_what_makes_it_slow(self, mvp: httpx.AsyncClient, clone_url: str) -> None:
        execute(clone_url, "DROP INDEX ix_users_role")
        report = await report_of(mvp)
        schema = report["dependencies"]["schema"]
        assert (report["status"], schema["status"]) == ("degraded", "degraded")
        assert schema["drift"] == [next(line for line in schema["drift"] if "ix_users_role" in line)]

    @pytest.mark.parametrize("statement", ["DROP TRIGGER {} ON {}", "ALTER TABLE {1} DISABLE TRIGGER {0}"])
    async def test_what_keeps_it_from_being_told(self, mvp: httpx.AsyncClient, clone_url: str, statement: str) -> None:
        execute(clone_url, statement.format("revocations_on_update", "api_tokens"))
        schema = (await report_of(mvp))["dependencies"]["schema"]
        assert schema["status"] == "degraded"
        assert "a trigger" in schema["detail"]
        assert "verify_schema.py" in schema["detail"]
        assert ["revocations_on_update" in line for line in schema["drift"]] == [True]

    async def test_what_it_can(self, mvp: httpx.AsyncClient, clone_url: str) -> None:
        execute(clone_url, "CREATE INDEX added_by_hand ON users (full_name)")
        execute(clone_url, "CREATE TABLE strategies (id int, user_id int)")
        report = await report_of(mvp)
        schema = report["dependencies"]["schema"]
        assert (report["status"], schema["detail"]) == ("healthy", None)
        assert len(schema["drift"]) == 1
        assert "added_by_hand" in schema["drift"][0]

    async def test_it_is_looked_for_once_a_minute(
        self, mvp: httpx.AsyncClient, clone_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with statements() as first:
            await report_of(mvp)
        with statements() as second:
            await report_of(mvp)
        assert len(second) < len(first)
        execute(clone_url, "ALTER TABLE order_templates DROP COLUMN last_used_at")
        assert (await report_of(mvp))["dependencies"]["schema"]["drift"] == []
        monkeypatch.setattr(checks, "DRIFT_IS_FRESH", 0.0)
        assert (await report_of(mvp, 503))["dependencies"]["schema"]["drift"]

    async def test_a_new_revision_has_it_looked_for_again(self, mvp: httpx.AsyncClient, clone_url: str) -> None:
        await report_of(mvp)
        execute(clone_url, "ALTER TABLE order_templates DROP COLUMN last_used_at")
        set_revision(clone_url, "ffffffffffff")
        report = await report_of(mvp, 503)
        assert report["status"] == "unhealthy"
        assert report["dependencies"]["schema"]["drift"]


class TestProbes:
    @pytest.mark.parametrize(
        ("path", "fields"), [("/api/health", {"status", "time", "version"}), ("/api/health/live", {"status"})]
    )
    async def test_health_and_live_touch_nothing(
        self, anonymous: httpx.AsyncClient, path: str, fields: set[str]
    ) -> None:
        with statements() as executed, checkouts() as handed_out:
            answers = [await anonymous.get(path, headers=headers) for headers in ({}, bearer(), bearer("nobody"))]
        assert (executed, handed_out) == ([], [])
        for answer in answers:
            assert (answer.status_code, answer.json().keys(), answer.json()["status"]) == (200, fields, "ok")

    async def test_health_tells_time_and_version(self, anonymous: httpx.AsyncClient) -> None:
        body = (await anonymous.get("/api/health")).json()
        assert is_now(body["time"])
        assert body["version"] == __version__

    async def test_ready(self, anonymous: httpx.AsyncClient) -> None:
        answer = await anonymous.get(READY)
        assert (answer.status_code, answer.json()) == (200, {"status": "ready"})

    async def test_not_ready_when_behind(self, anonymous: httpx.AsyncClient, clone_url: str) -> None:
        for revision in (PREVIOUS, "0952a611cdfb"):
            set_revision(clone_url, revision)
            answer = await anonymous.get(READY)
            assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
            assert answer.headers["content-type"] == "application/problem+json"
            assert int(answer.headers["retry-after"]) > 0
            assert "alembic upgrade head" in answer.json()["detail"]
        execute(clone_url, "DROP TABLE alembic_version")
        assert (await anonymous.get(READY)).status_code == 503
