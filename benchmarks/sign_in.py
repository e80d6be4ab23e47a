"""Whether the time of a refused sign-in tells who has an account, and how."""

import json
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from ipaddress import IPv4Address
from itertools import count

import bcrypt
from sqlalchemy import text

from app.db.engine import connect
from app.identity.hashing import hash_password
from benchmarks.servers import serving
from benchmarks.tables import Table

READY = "/api/health/ready"
PASSWORD = "a password that no account here has"
HASHES = {
    "unknown user": None,
    "no password": None,
    "wrong password": hash_password("another password"),
    "wrong password, old bcrypt hash": bcrypt.hashpw(b"another password", bcrypt.gensalt(12)).decode(),
}


def measure(url: str, rounds: int) -> str:
    """Milliseconds until the 401, per kind of refusal: of the work alone, and as a client sees it."""
    names = _accounts(url, 25 * rounds)
    work = _timed("benchmarks.applications:refusing_at_once", url, names, 20 * rounds)
    seen = _timed("benchmarks.applications:behind_a_proxy", url, names, 4 * rounds)
    tables = (
        Table("Refused sign-ins, the work alone", "ms", work, "ratio 0.9 to 1.1, but for bcrypt"),
        Table("Refused sign-ins, as a client sees them", "ms", seen, "ratio 0.9 to 1.1"),
    )
    return "\n\n".join(map(str, tables))


def _accounts(url: str, number: int) -> dict[str, Iterator[str]]:
    """For each kind of refusal names to try, each once, so that nobody is throttled."""
    insert = text(
        "INSERT INTO users (email, password_hash, role, is_active, preferences, created_at, updated_at) "
        "SELECT :kind || n || '@bench.test', :password_hash, 'member', true, '{}', now(), now() "
        "FROM generate_series(1, :number) AS n"
    )
    with connect(url) as connection, connection.begin():
        for place, (kind, password_hash) in enumerate(HASHES.items()):
            if kind != "unknown user":
                values = {"kind": f"kind{place}-", "password_hash": password_hash, "number": number}
                connection.execute(insert, values)
    return {kind: (f"kind{place}-{n}@bench.test" for n in range(1, number)) for place, kind in enumerate(HASHES)}


def _timed(application: str, url: str, names: dict[str, Iterator[str]], tries: int) -> dict[str, list[float]]:
    runs: dict[str, list[float]] = {kind: [] for kind in HASHES}
    address = count(1)
    with serving(application, url, READY) as (_, port, _):
        for _ in range(tries + 1):
            for kind in HASHES:
                runs[kind].append(_refused(port, next(names[kind]), next(address)))
    return {kind: figures[1:] for kind, figures in runs.items()}


def _refused(port: int, name: str, number: int) -> float:
    """Milliseconds; each attempt comes from an address of its own."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        began = time.perf_counter()
        body = json.dumps({"username": name, "password": PASSWORD})
        headers = {"Content-Type": "application/json", "X-Forwarded-For": str(IPv4Address("10.0.0.0") + number)}
        connection.request("POST", "/api/auth/login", body, headers)
        status = connection.getresponse().status
        seconds = time.perf_counter() - began
    finally:
        connection.close()
    if status != 401:
        raise RuntimeError(f"answered {status}")
    return 1000 * seconds
