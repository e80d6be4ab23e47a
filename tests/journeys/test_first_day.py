"""The founder's first day: from a running service to a script with a token of its own, and back."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.identity import execute
from tests.support.service import Server, bearer, uvicorn_process

SCRIPT = {"name": "nightly report", "scopes": ["read"]}


@pytest.fixture
def server(clone_url: str, tmp_path: Path) -> Iterator[Server]:
    """Started as the README says, without any secret configured."""
    variables = {"DATABASE_URL": clone_url, "DATA_DIR": str(tmp_path / "data")}
    with uvicorn_process(tmp_path, variables) as server:
        server.wait_until_up()
        yield server


def test_the_first_day(server: Server, clone_url: str) -> None:
    with httpx.Client(base_url=server.url, trust_env=False, timeout=10) as client:
        # Nobody gets in without a token.
        refused = client.get("/api/health/detailed")
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Bearer realm="api"')
        assert refused.json()["code"] == "not_authenticated"

        # The start printed one, ready to paste.
        founder = bearer(server.token())
        report = client.get("/api/health/detailed", headers=founder)
        assert (report.status_code, report.json()["status"]) == (200, "healthy")
        assert report.json()["auth"] == {
            "method": "mvp_token",
            "user_id": 1,
            "mvp_user": "open",
            "registration": "invite",
        }

        me = client.get("/api/users/me", headers=founder).json()
        assert (me["email"], me["role"], me["has_password"]) == ("mvp@localhost", "owner", False)

        # A script gets a token that can look and not touch.
        minted = client.post("/api/tokens", headers=founder, json=SCRIPT)
        assert minted.status_code == 201
        script, address = bearer(minted.json()["token"]), minted.headers["location"]
        assert client.get("/api/users/me", headers=script).json() == me
        assert client.get("/api/health/detailed", headers=script).json()["auth"]["method"] == "api_token"
        for attempt, scope in (
            (client.post("/api/tokens", headers=script, json=SCRIPT), "issue"),
            (client.delete(address, headers=script), "write"),
        ):
            assert (attempt.status_code, attempt.json()["code"]) == (403, "insufficient_scope")
            assert f'scope="{scope}"' in attempt.headers["www-authenticate"]

        # The founder sees it, and takes it back.
        listed = client.get("/api/tokens", headers=founder).json()["items"]
        assert [token["name"] for token in listed] == ["nightly report", "API_TOKEN"]
        assert client.delete(address, headers=founder).status_code == 204
        gone = client.get("/api/users/me", headers=script)
        assert (gone.status_code, gone.json()["code"]) == (401, "invalid_token")
        assert client.get("/api/users/me", headers=founder).json() == me

    # When they were used is written down at the end at the latest.
    server.stop()
    used = execute(clone_url, "SELECT name FROM api_tokens WHERE last_used_at IS NOT NULL ORDER BY id")
    assert [row["name"] for row in used] == ["API_TOKEN", "nightly report"]
    assert minted.json()["token"] not in server.output()
    assert server.token() not in server.logged()
