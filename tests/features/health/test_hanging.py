"""Checks that hang, which keep no more connections the more often somebody asks."""

import asyncio
import time
from collections import Counter
from typing import Any

import httpx
import pytest

from app.db.engine import connect
from app.features.health.checks import AT_A_TIME
from tests.support.identity import application

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

NO_ANSWER = "no answer within 1 s"
NO_PLACE = "no place within 1 s: the checks before this one have no answer yet"

CHECKS_OF_THE_REPORT = 4
ASKING_AT_A_TIME = 4


async def reports(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """As many as are asked for at a time."""
    answers = await asyncio.gather(*(client.get("/api/health/detailed") for _ in range(ASKING_AT_A_TIME)))
    return [answer.json() for answer in answers]


async def assert_healthy_again(client: httpx.AsyncClient) -> None:
    state, deadline = application(client).state, time.monotonic() + 10
    while state.engine.pool.checkedout() or not state.listener.hearing.current:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    assert {report["status"] for report in await reports(client)} == {"healthy"}


async def test_who_finds_no_place_is_told(mvp: httpx.AsyncClient, clone_url: str) -> None:
    pool = application(mvp).state.engine.pool
    told: Counter[str] = Counter()
    with connect(clone_url) as other:
        other.exec_driver_sql("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
        for _ in range(2):
            told.update(report["dependencies"]["schema"]["detail"] for report in await reports(mvp))
            assert pool.checkedout() == AT_A_TIME
    assert told == {NO_ANSWER: AT_A_TIME, NO_PLACE: 2 * ASKING_AT_A_TIME - AT_A_TIME}
    await assert_healthy_again(mvp)


async def test_somebody_is_changing_a_table(mvp: httpx.AsyncClient, clone_url: str) -> None:
    """One that authentication asks, too, and which leaves enough connections all the same."""
    pool = application(mvp).state.engine.pool
    with connect(clone_url) as other:
        other.exec_driver_sql("ALTER TABLE users ADD COLUMN nickname text")
        for _ in range(20 // ASKING_AT_A_TIME):
            told = await reports(mvp)
            assert {report["dependencies"]["schema"]["detail"] for report in told} <= {NO_ANSWER, NO_PLACE}
            assert 0 < pool.checkedout() <= AT_A_TIME * CHECKS_OF_THE_REPORT
    await assert_healthy_again(mvp)
