"""When a credential was used last: right to the minute, written down in batches, and in nobody's way."""

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, make_url, text

from app.db.engine import connect
from app.identity.permissions import CredentialKind
from app.identity.principal_cache import Use
from app.identity.uses import write_uses
from tests.support.identity import Service, add_token, application, execute, note_uses, statements
from tests.support.postgres import run_outside_transaction
from tests.support.service import MVP_TOKEN, bearer, in_process, settings_for
from tests.support.sessions import Accounts

pytestmark = pytest.mark.anyio

ME = "/api/users/me"
PLACES = {
    CredentialKind.SESSION: ("user_sessions", "last_activity_at"),
    CredentialKind.API_TOKEN: ("api_tokens", "last_used_at"),
}


@dataclass(frozen=True)
class Credential:
    service: Service
    kind: CredentialKind
    id: int
    token: str

    async def use(self) -> int:
        """The status of the answer."""
        return (await self.service.client.get(ME, headers=bearer(self.token))).status_code

    def set_age(self, seconds: float) -> None:
        table, column = PLACES[self.kind]
        moment = "timezone('utc', now()) - make_interval(secs => :seconds)"
        execute(self.service.url, f"UPDATE {table} SET {column} = {moment} WHERE id = :id", seconds=seconds, id=self.id)

    def age(self) -> float | None:
        """Seconds since the last use that was written down."""
        table, column = PLACES[self.kind]
        age = f"extract(epoch FROM timezone('utc', clock_timestamp()) - {column}) AS age"
        (row,) = execute(self.service.url, f"SELECT {age} FROM {table} WHERE id = :id", id=self.id)
        return None if row["age"] is None else float(row["age"])

    def is_noted(self) -> bool:
        """Whether it is written down that it was used just now."""
        age = self.age()
        return age is not None and -1 < age < 20


def new(service: Service, kind: CredentialKind) -> Credential:
    """One that was not used for a day, if ever."""
    accounts = Accounts(service)
    user = accounts.add()
    if kind is CredentialKind.API_TOKEN:
        token = add_token(service.url, user)
        (row,) = execute(service.url, "SELECT id FROM api_tokens WHERE user_id = :id", id=user)
        return Credential(service, kind, row["id"], token)
    pair = accounts.open(user)
    session = Credential(service, kind, pair.session_id, pair.access_token)
    session.set_age(86_400)
    return session


@pytest.fixture(params=PLACES)
def credential(service: Service, request: pytest.FixtureRequest) -> Credential:
    return new(service, request.param)


def engine_of(service: Service) -> Engine:
    engine: Engine = application(service.client).state.engine
    return engine


def written(executed: Iterable[str]) -> int:
    return sum("UPDATE" in statement for statement in executed)


@pytest.mark.parametrize(("before", "writes"), [(30, False), (70, True), (86_400, True), (-30, False)])
async def test_it_is_right_to_the_minute(credential: Credential, before: int, writes: bool) -> None:
    credential.set_age(before)
    assert [await credential.use() for _ in range(3)] == [200] * 3
    note_uses(credential.service.client)
    age = credential.age()
    assert age is not None
    assert abs(age - (0 if writes else before)) < 20


async def test_no_request_waits_for_a_write(credential: Credential) -> None:
    with statements() as executed:
        assert set(await asyncio.gather(*(credential.use() for _ in range(20)))) == {200}
    assert written(executed) == 0
    assert not credential.is_noted()
    with statements() as executed:
        note_uses(credential.service.client)
    assert written(executed) == 1
    assert credential.is_noted()
    with statements() as executed:
        note_uses(credential.service.client)
    assert written(executed) == 0, "nothing was used since"


async def test_a_use_is_when_it_happened(credential: Credential) -> None:
    write_uses(engine_of(credential.service), [Use(credential.kind, credential.id, 1000.0)], 1040.0)
    age = credential.age()
    assert age is not None
    assert 40 <= age < 60


async def test_only_what_was_used(service: Service) -> None:
    used, spared = ([new(service, kind) for kind in PLACES] for _ in range(2))
    assert [await each.use() for each in used] == [200, 200]
    note_uses(service.client)
    assert [each.is_noted() for each in (*used, *spared)] == [True, True, False, False]


async def test_a_thousand_in_a_statement(service: Service) -> None:
    """And credentials that are gone by then do no harm."""
    token, other, session = (
        new(service, kind) for kind in (CredentialKind.API_TOKEN, CredentialKind.API_TOKEN, CredentialKind.SESSION)
    )
    gone = [Use(CredentialKind.API_TOKEN, 1_000_000 + number, 0.0) for number in range(2_498)]
    uses = [Use(each.kind, each.id, 0.0) for each in (token, session, other)]
    with statements() as executed:
        write_uses(engine_of(service), [uses[0], uses[1], *gone, uses[2]], 0.0)
    assert written(executed) == 4
    assert [each.is_noted() for each in (token, session, other)] == [True] * 3


async def test_one_that_is_deleted_meanwhile(credential: Credential) -> None:
    table, _ = PLACES[credential.kind]
    other = new(credential.service, credential.kind)
    assert [await credential.use(), await other.use()] == [200, 200]
    execute(credential.service.url, f"DELETE FROM {table} WHERE id = :id", id=credential.id)
    note_uses(credential.service.client)
    assert other.is_noted()


@contextmanager
def locked(credential: Credential) -> Iterator[None]:
    table, _ = PLACES[credential.kind]
    with connect(credential.service.url) as owner, owner.begin():
        # So that a test that fails does not hang.
        owner.execute(text("SET LOCAL idle_in_transaction_session_timeout = '5s'"))
        owner.execute(text(f"SELECT 1 FROM {table} WHERE id = :id FOR UPDATE"), {"id": credential.id})
        yield


async def remembers(service: Service) -> None:
    """Return once it need not ask the database for what it knows."""
    listener = application(service.client).state.listener
    for _ in range(500):
        listener.catch_up(1.0)
        if listener.hearing.current:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(listener.hearing)


async def test_a_row_that_somebody_is_at_is_passed_by(credential: Credential) -> None:
    """Neither those who use the credential wait for it, nor what is noted of others."""
    service = credential.service
    other = new(service, credential.kind)
    with locked(credential):
        used = await asyncio.gather(*(each.use() for each in (credential, other, credential)))
        note_uses(service.client)
        assert (used, credential.is_noted(), other.is_noted()) == ([200] * 3, False, True)


async def test_a_use_that_costs_no_query_counts_too(credential: Credential) -> None:
    with locked(credential):
        await credential.use()
        note_uses(credential.service.client)
    await remembers(credential.service)
    with statements() as executed:
        assert await credential.use() == 200
    assert executed == []
    note_uses(credential.service.client)
    assert credential.is_noted()


async def test_that_it_was_noted_is_no_news(credential: Credential) -> None:
    """What is known of it need not be asked again."""
    await credential.use()
    note_uses(credential.service.client)
    assert credential.is_noted()
    await remembers(credential.service)
    with statements() as executed:
        assert await credential.use() == 200
    assert executed == []


async def test_a_request_that_is_refused_is_a_use_too(service: Service) -> None:
    token = new(service, CredentialKind.API_TOKEN)
    answer = await service.client.post("/api/tokens", headers=bearer(token.token), json={})
    assert answer.status_code == 403
    note_uses(service.client)
    assert token.is_noted()


async def test_who_uses_a_session_keeps_it(service: Service) -> None:
    """Also beyond the time for which its idleness let anybody remember it."""
    session = new(service, CredentialKind.SESSION)
    idle = Accounts(service).sessions.lifetimes.idle
    session.set_age((idle - timedelta(seconds=1.5)).total_seconds())
    known_until = time.monotonic() + 1.5
    assert await session.use() == 200
    note_uses(service.client)
    await asyncio.sleep(max(0.0, known_until - time.monotonic()) + 0.1)
    assert await session.use() == 200


async def test_the_start_is_no_use_of_the_configured_token(clone_url: str, anonymous: httpx.AsyncClient) -> None:
    used = "SELECT last_used_at IS NOT NULL AS used FROM api_tokens WHERE from_configuration"
    note_uses(anonymous)
    assert [row["used"] for row in execute(clone_url, used)] == [False]
    assert (await anonymous.get(ME, headers=bearer(MVP_TOKEN))).status_code == 200
    note_uses(anonymous)
    assert [row["used"] for row in execute(clone_url, used)] == [True]


async def test_a_database_that_can_only_be_read(
    clone_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It answers, is not written to, and nobody is alarmed."""
    async with in_process(settings_for(clone_url, tmp_path)) as client:
        credentials = [new(Service(clone_url, client), kind) for kind in PLACES]
    name = make_url(clone_url).database
    run_outside_transaction(clone_url, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    caplog.clear()
    async with in_process(settings_for(clone_url, tmp_path)) as client:
        for each in credentials:
            assert (await client.get(ME, headers=bearer(each.token))).status_code == 200
        note_uses(client)
        await client.get(ME, headers=bearer(credentials[0].token))
    assert [each.is_noted() for each in credentials] == [False, False]
    assert [record.message for record in caplog.records if record.levelname != "INFO"] == []
