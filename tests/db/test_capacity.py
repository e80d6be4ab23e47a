"""Whether the database's limits leave room for what one process opens."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, make_url

from app.db import capacity
from app.db.capacity import PROCESS_CONNECTIONS, check_connections
from app.db.engine import MAX_OVERFLOW, POOL_SIZE, REQUEST_CONNECTIONS, THREADS, make_engine
from tests.support.chain import execute, fetch
from tests.support.pgbouncer import pgbouncer
from tests.support.postgres import run_outside_transaction

PASSWORD = "capacity"


def test_a_request_that_has_its_turn_finds_a_connection_and_a_thread() -> None:
    assert REQUEST_CONNECTIONS < POOL_SIZE + MAX_OVERFLOW < THREADS


@pytest.fixture
def role(server_url: str, clone_url: str) -> Iterator[str]:
    """The name of an ordinary role that may connect to the database as often as it likes."""
    name = f"role_{uuid.uuid4().hex}"
    run_outside_transaction(server_url, f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
    yield name
    run_outside_transaction(server_url, f"DROP ROLE {name}")


@pytest.fixture
def engine(clone_url: str, role: str) -> Iterator[Engine]:
    """The pool of a process that connects as that role."""
    url = make_url(clone_url).set(username=role, password=PASSWORD)
    with closing_engine(url.render_as_string(hide_password=False)) as engine:
        yield engine


@contextmanager
def closing_engine(url: str) -> Iterator[Engine]:
    engine = make_engine(url)
    yield engine
    engine.dispose()


def warnings(engine: Engine, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    check_connections(engine)
    return [record.getMessage() for record in caplog.records if record.name == "app.db.capacity"]


def warning(limit: str, admitted: int, wanted: int = PROCESS_CONNECTIONS) -> str:
    return (
        f"this process opens up to {wanted} connections to the database, as does every replica, but {limit} admits "
        f"{admitted} in all: raise it, or requests will be refused when they are many"
    )


def setting(url: str, name: str) -> int:
    (row,) = fetch(url, f"SELECT coalesce(current_setting('{name}', true), '0') AS value")
    return int(row["value"] or 0)


def test_the_usual_limits_are_no_matter(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    assert warnings(engine, caplog) == []


@pytest.mark.parametrize(("limit", "is_told"), [(PROCESS_CONNECTIONS, False), (PROCESS_CONNECTIONS - 1, True)])
class TestLimits:
    def test_of_the_role(
        self, engine: Engine, clone_url: str, role: str, caplog: pytest.LogCaptureFixture, limit: int, is_told: bool
    ) -> None:
        execute(clone_url, f"ALTER ROLE {role} CONNECTION LIMIT {limit}")
        expected = [warning(f"the CONNECTION LIMIT of the role {role}", limit)]
        assert warnings(engine, caplog) == (expected if is_told else [])

    def test_of_the_database(
        self, engine: Engine, clone_url: str, caplog: pytest.LogCaptureFixture, limit: int, is_told: bool
    ) -> None:
        name = make_url(clone_url).database
        execute(clone_url, f"ALTER DATABASE {name} CONNECTION LIMIT {limit}")
        expected = [warning(f"the CONNECTION LIMIT of the database {name}", limit)]
        assert warnings(engine, caplog) == (expected if is_told else [])

    def test_none_of_them_binds_a_superuser(
        self, clone_url: str, caplog: pytest.LogCaptureFixture, limit: int, is_told: bool
    ) -> None:
        execute(clone_url, f"ALTER DATABASE {make_url(clone_url).database} CONNECTION LIMIT {limit}")
        with closing_engine(clone_url) as engine:
            assert warnings(engine, caplog) == []


class TestServer:
    def test_what_is_reserved_is_not_for_everybody(
        self, engine: Engine, clone_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reserved = sum(setting(clone_url, f"{kind}reserved_connections") for kind in ("", "superuser_"))
        admitted = setting(clone_url, "max_connections") - reserved
        assert reserved > 0
        monkeypatch.setattr(capacity, "PROCESS_CONNECTIONS", admitted)
        assert warnings(engine, caplog) == []
        monkeypatch.setattr(capacity, "PROCESS_CONNECTIONS", admitted + 1)
        assert warnings(engine, caplog) == [warning("max_connections", admitted, admitted + 1)]

    def test_a_superuser_has_those_too(
        self, clone_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        admitted = setting(clone_url, "max_connections")
        with closing_engine(clone_url) as engine:
            monkeypatch.setattr(capacity, "PROCESS_CONNECTIONS", admitted)
            assert warnings(engine, caplog) == []
            monkeypatch.setattr(capacity, "PROCESS_CONNECTIONS", admitted + 1)
            assert warnings(engine, caplog) == [warning("max_connections", admitted, admitted + 1)]


def test_behind_a_pooler_nothing_is_said(
    server_url: str, clone_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "PROCESS_CONNECTIONS", 1_000_000)
    with pgbouncer(server_url) as bouncer, closing_engine(bouncer.url(clone_url)) as engine:
        assert warnings(engine, caplog) == []
    with closing_engine(clone_url) as engine:
        assert len(warnings(engine, caplog)) == 1
