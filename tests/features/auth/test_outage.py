"""The database goes away: whoever signs in is told to come again, each endpoint in its own words."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from app.db.embedded.server import EmbeddedPostgres
from tests.support.accounts import PASSWORD, claim, refusal, sign_in
from tests.support.postgres import FAST
from tests.support.service import data_folder, in_process, settings_for

pytestmark = pytest.mark.anyio

EMAIL = "founder@example.test"


@pytest.fixture
async def outage(tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, EmbeddedPostgres]]:
    """A service and the server it needs."""
    with data_folder() as folder:
        server = EmbeddedPostgres(folder / "postgres", settings=FAST)
        try:
            async with in_process(settings_for(server.start(), tmp_path)) as client:
                yield client, server
        finally:
            server.stop()


async def test_every_way_in(
    outage: tuple[httpx.AsyncClient, EmbeddedPostgres], caplog: pytest.LogCaptureFixture
) -> None:
    client, server = outage
    founder = await claim(client, EMAIL)
    server.stop()
    for form in (
        {"grant_type": "password", "username": EMAIL, "password": PASSWORD},
        {"grant_type": "refresh_token", "refresh_token": founder.refresh_token},
    ):
        answer = await client.post("/api/auth/token", data=form)
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/json")
        assert (answer.json()["error"], answer.headers["cache-control"]) == ("temporarily_unavailable", "no-store")
        assert int(answer.headers["retry-after"]) > 0
    assert caplog.text.count("the database does not answer") == 2
    for path, body in {
        "login": {"username": EMAIL, "password": PASSWORD},
        "refresh": {"refresh_token": founder.refresh_token},
        "register": {"email": EMAIL, "password": PASSWORD},
        "password/reset": {"token": "tbr_x", "new_password": PASSWORD},
        "claim": {"email": EMAIL, "password": PASSWORD},
        "logout": None,
    }.items():
        answer = await client.post(f"/api/auth/{path}", json=body, headers=founder.headers)
        assert refusal(answer) == (503, "database_unavailable")
        assert int(answer.headers["retry-after"]) > 0
    server.start()
    assert (await sign_in(client, EMAIL)).status_code == 200
    refreshed = await client.post("/api/auth/refresh", json={"refresh_token": founder.refresh_token})
    assert refreshed.status_code == 200, "no token was used up"
