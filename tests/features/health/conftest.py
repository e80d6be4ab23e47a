import time

import anyio
import httpx
import pytest

from tests.support.identity import application


@pytest.fixture
async def mvp(mvp: httpx.AsyncClient) -> httpx.AsyncClient:
    """Of a service that hears of revocations; a moment after its start it may not yet, and its report is degraded."""
    listener, deadline = application(mvp).state.listener, time.monotonic() + 10
    while not listener.hearing.current:
        assert time.monotonic() < deadline, listener.hearing
        await anyio.sleep(0.005)
    return mvp
