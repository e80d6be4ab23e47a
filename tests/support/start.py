"""What a person does with a service that has just started."""

import re
import shlex
import time
from pathlib import Path

import httpx

from tests.support.service import Server, bearer, processes_in


def pasted(server: Server) -> httpx.Response:
    """What the banner's line gets when it is pasted into a shell."""
    _, line = re.split(r"Try +", server.printed().strip())
    command, option, header, url = shlex.split(line)
    assert (command, option) == ("curl", "-H")
    name, _, value = header.partition(": ")
    return httpx.get(url, headers={name: value}, trust_env=False)


def leave_data(server: Server) -> str:
    """An API token made now, by which `has_data` knows the database again."""
    answer = httpx.post(
        f"{server.url}/api/tokens",
        headers=bearer(server.token()),
        json={"name": "kept", "scopes": ["read"]},
        trust_env=False,
    )
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["token"]
    return token


def has_data(server: Server, left: str) -> bool:
    return server.get("/api/users/me", left).status_code == 200


def assert_all_gone(data_dir: Path, within: float = 0) -> None:
    """No process uses the data folder any more, or at least not `within` seconds from now."""
    deadline = time.monotonic() + within
    while left := processes_in(data_dir):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
