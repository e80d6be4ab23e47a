"""Checks that hang, which keep no more connections the more often somebody asks."""

import asyncio
import time

import httpx
import pytest

from app.db.engine import connect
from app.features.health.checks import AT_A_TIME
from tests.support.identity import application

pytestmark = pytest.mark.anyio


@pytest.mark.slow
async def test_a_locked_table(mvp: httpx.AsyncClient, clone_url: str) -> None:
    pool = application(mvp).state.engine.pool
    with connect(clone_url) as other, other.begin():
        other.exec_driver_sql("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
        for _ in range(5):
            report = (await mvp.get("/api/health/detailed")).json()
            assert report["dependencies"]["schema"]["detail"] == "no answer within 1 s"
        assert 0 < pool.checkedout() <= AT_A_TIME
    deadline = time.monotonic() + 10
    while pool.checkedout():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    assert (await mvp.get("/api/health/detailed")).json()["status"] == "healthy"
