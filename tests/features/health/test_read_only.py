"""A database that can only be read: a standby after a failover, a provider's full disk."""

from pathlib import Path

import pytest
from sqlalchemy import make_url

from app.core.errors import StartupError
from app.lifespan import started
from tests.support.identity import execute
from tests.support.postgres import run_outside_transaction
from tests.support.service import bearer, in_process, settings_for

pytestmark = pytest.mark.anyio


def make_read_only(url: str) -> None:
    name = make_url(url).database
    run_outside_transaction(url, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')


async def test_what_was_made_before_is_still_served(clone_url: str, tmp_path: Path) -> None:
    async with in_process(settings_for(clone_url, tmp_path)):
        pass
    execute(clone_url, "UPDATE api_tokens SET last_used_at = NULL")
    make_read_only(clone_url)
    async with in_process(settings_for(clone_url, tmp_path)) as client:
        client.headers.update(bearer())
        assert (await client.get("/api/users/me")).status_code == 200
        assert (await client.get("/api/tokens")).status_code == 200
        refused = await client.post("/api/tokens", json={"name": "a", "scopes": ["read"]})
        assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
        report = await client.get("/api/health/detailed")
        database = report.json()["dependencies"]["database"]
        assert (report.status_code, database["status"]) == (200, "degraded")
        assert "read-only" in database["detail"]


def test_what_a_start_would_have_to_write_is_said_in_a_sentence(clone_url: str, tmp_path: Path) -> None:
    make_read_only(clone_url)
    with (
        pytest.raises(StartupError, match=r"is read-only .* use the primary"),
        started(settings_for(clone_url, tmp_path)),
    ):
        pass


def test_a_role_that_may_only_read(clone_url: str, tmp_path: Path) -> None:
    """At head, so that no migration stumbles over it first."""
    url = make_url(clone_url)
    role = f"reader_{url.database}"
    run_outside_transaction(
        clone_url, f'CREATE ROLE "{role}" LOGIN', f'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{role}"'
    )
    try:
        settings = settings_for(url.set(username=role).render_as_string(hide_password=False), tmp_path)
        with pytest.raises(StartupError, match="lacks a right that the start needs"), started(settings):
            pass
    finally:
        run_outside_transaction(clone_url, f'DROP OWNED BY "{role}"', f'DROP ROLE "{role}"')
