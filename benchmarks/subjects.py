"""What rates are measured of: servers on one CPU or several, and requests that they answer."""

import json
import secrets
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from ipaddress import IPv4Address
from typing import NamedTuple
from urllib.parse import urlencode

from sqlalchemy import text

from app.db.engine import connect
from app.identity.hashing import hash_password
from benchmarks.clients import ME
from benchmarks.cpus import SERVER_CPUS
from benchmarks.credentials import open_sessions
from benchmarks.load import get, post
from benchmarks.servers import REPOSITORY, empty_database, serving

READY = "/api/health/ready"
RIVALS_PYTHON = REPOSITORY / ".venv-bench" / "bin" / "python"
PASSWORD = "seldom-otter-viaduct-42"
JSON = "Content-Type: application/json"
FORM = "Content-Type: application/x-www-form-urlencoded"
OPENAPI = "/openapi.json"


class Subject(NamedTuple):
    port: int
    pid: int
    requests: Sequence[bytes]
    """Authenticated, of different callers."""
    sign_ins: Sequence[bytes]


@contextmanager
def the_service(
    url: str, callers: int = 1, accounts: int = 0, cpus: AbstractSet[int] = SERVER_CPUS, path: str = ME
) -> Iterator[Subject]:
    """The service; where there are `accounts` to sign in to, behind a proxy that tells from which addresses."""
    application = "benchmarks.applications:behind_a_proxy" if accounts else "app.main:app"
    requests = [get(path, credential.token) for credential in open_sessions(url, callers)]
    sign_ins = _sign_ins(url, accounts)
    with serving(application, url, READY, cpus=cpus) as (
        process,
        port,
        _,
    ):
        yield Subject(port, process.pid, requests, sign_ins)


@contextmanager
def floor(url: str) -> Iterator[Subject]:
    """FastAPI with one endpoint that does nothing."""
    with serving("benchmarks.applications:floor", url, ME, cpus=SERVER_CPUS) as (process, port, _):
        yield Subject(port, process.pid, [get(ME, "no-token")], [])


@contextmanager
def fastapi_users(url: str, factory: str) -> Iterator[Subject]:
    """fastapi-users' own example, one account in its database; `factory` says how it keeps tokens."""
    account = {"email": "rival@bench.example.com", "password": PASSWORD}
    form = urlencode({"username": account["email"], "password": PASSWORD})
    with _rival(url, "fastapi_users_example", factory) as (port, pid):
        _ask(port, "/auth/register", json.dumps(account), JSON, 201)
        token = _ask(port, "/auth/login", form, FORM, 200)["access_token"]
        yield Subject(port, pid, [get("/users/me", token)], [post("/auth/login", form, FORM)])


@contextmanager
def plain_design(url: str) -> Iterator[Subject]:
    with _rival(url, "plain_design", "plain") as (port, pid):
        token = _ask(port, "/login", "", FORM, 200)["access_token"]
        yield Subject(port, pid, [get("/users/me", token)], [])


@contextmanager
def _rival(url: str, module: str, factory: str) -> Iterator[tuple[int, int]]:
    if not RIVALS_PYTHON.exists():
        raise RuntimeError("what is measured beside the service is not installed: `make bench` does it")
    with ExitStack() as stack:
        own = stack.enter_context(empty_database(url, f"rival_{factory}"))
        application = f"benchmarks.rivals.{module}:{factory}"
        server = serving(application, own, OPENAPI, cpus=SERVER_CPUS, python=RIVALS_PYTHON)
        process, port, _ = stack.enter_context(server)
        yield port, process.pid


def _sign_ins(url: str, accounts: int) -> list[bytes]:
    """Each of another account and from another address, so that none is throttled."""
    insert = text(
        "INSERT INTO users (email, password_hash, role, is_active, preferences, created_at, updated_at) "
        "SELECT :prefix || n || '@accounts.test', :password_hash, 'member', true, '{}', now(), now() "
        "FROM generate_series(1, :accounts) AS n RETURNING email"
    )
    prefix = secrets.token_hex(4)
    values = {"prefix": prefix, "password_hash": hash_password(PASSWORD), "accounts": accounts}
    with connect(url) as connection, connection.begin():
        emails = list(connection.execute(insert, values).scalars())
    return [
        post(
            "/api/auth/login",
            json.dumps({"username": email, "password": PASSWORD}),
            JSON,
            f"X-Forwarded-For: {IPv4Address('10.0.0.0') + number}",
        )
        for number, email in enumerate(emails, 1)
    ]


def _ask(port: int, path: str, body: str, content_type: str, expected: int) -> dict[str, str]:
    """What a POST answers. RuntimeError if it is refused."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        name, _, value = content_type.partition(": ")
        connection.request("POST", path, body, {name: value})
        response = connection.getresponse()
        answer = response.read()
    finally:
        connection.close()
    if response.status != expected:
        raise RuntimeError(f"{path} answered {response.status}: {answer.decode()}")
    answered: dict[str, str] = json.loads(answer)
    return answered
