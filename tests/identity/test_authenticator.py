"""Whose a token is: one answer for all who ask at once, and none that is older than a revocation."""

import asyncio
import gc
import hashlib
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.core.clock import steady
from app.core.errors import DatabaseUnavailable, InvalidToken, ServiceUnavailable
from app.identity import authenticator
from app.identity.activity import Origin
from app.identity.authenticator import Authenticator
from app.identity.jwt import SigningKeys
from app.identity.permissions import Permission
from app.identity.principal import Principal
from app.identity.principal_cache import PrincipalCache
from app.identity.resolve import Resolved
from app.identity.sessions import Lifetimes, Sessions
from app.identity.tokens import mint
from app.models.database import User
from app.web.session import Transactions, transaction
from tests.support.identity import add_token, execute
from tests.support.sessions import DAY, MINUTE

pytestmark = pytest.mark.anyio


class Service:
    """An authenticator whose transactions wait while its gate is closed."""

    def __init__(self, engine: Engine) -> None:
        self.heard = True
        self.cache = PrincipalCache(lambda _: self.heard)
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = 0
        self._transactions = Transactions(engine)
        self.engine = engine
        self.sessions = Sessions(SigningKeys("s" * 32), Lifetimes(15 * MINUTE, 30 * DAY, 7 * DAY))
        self.authenticator = Authenticator(engine, self.sessions, self.cache, self._run)
        self.authenticate = self.authenticator.authenticate

    async def _run(self, work: Callable[[Session], Resolved]) -> Resolved:
        self.asked += 1
        try:
            return await self._transactions.run(work)
        finally:
            await self.gate.wait()

    @asynccontextmanager
    async def asking(self, token: str, times: int = 1) -> AsyncIterator[list[asyncio.Task[Principal]]]:
        """What the database says is known inside, and told at the end."""
        self.gate.clear()
        tasks = [asyncio.create_task(self.authenticate(token)) for _ in range(times)]
        await asyncio.sleep(0.05)
        yield tasks
        self.gate.set()
        flights = [flight.answer for flight in self.authenticator._flights.values()]  # noqa: SLF001
        await asyncio.wait([*tasks, *flights])
        await asyncio.sleep(0)

    @property
    def flights(self) -> int:
        return len(self.authenticator._flights)  # noqa: SLF001


@pytest.fixture
async def service(engine: Engine) -> Service:
    return Service(engine)


@pytest.fixture
def token(url: str, ann: int) -> str:
    return add_token(url, ann)


async def test_those_who_ask_at_once_share_an_answer(service: Service, token: str) -> None:
    async with service.asking(token, times=20) as tasks:
        assert service.asked == 1
    assert len({id(task.result()) for task in tasks}) == 1
    await asyncio.sleep(0)
    assert (service.flights, len(service.cache)) == (0, 1)
    await service.authenticate(token)
    assert service.asked == 1


async def test_not_for_long(service: Service, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that takes its time may be older than a revocation that has not been heard of here."""
    monkeypatch.setattr(authenticator, "JOINABLE", 0.01)
    async with service.asking(token):
        later = asyncio.create_task(service.authenticate(token))
        await asyncio.sleep(0.05)
        assert service.asked == 2
    assert (await later).user.email == "ann@example.test"
    assert service.flights == 0


async def test_nobody_joins_after_a_revocation(service: Service, token: str, url: str, ann: int) -> None:
    async with service.asking(token) as (before,):
        execute(url, "UPDATE api_tokens SET revoked_at = timezone('utc', now())")
        service.cache.forget(ann)
        after = asyncio.create_task(service.authenticate(token))
        await asyncio.sleep(0.05)
        assert service.asked == 2
    assert before.result().user.id == ann, "it came before"
    with pytest.raises(InvalidToken):
        await after
    assert len(service.cache) == 0


async def test_each_asks_while_revocations_are_not_heard(service: Service, token: str) -> None:
    service.heard = False
    async with service.asking(token, times=3):
        assert service.asked == 3
    await service.authenticate(token)
    assert (service.asked, service.flights) == (4, 0)


async def test_who_goes_away_takes_the_answer_from_nobody(service: Service, token: str) -> None:
    async with service.asking(token, times=3) as (first, second, third):
        first.cancel()
        await asyncio.wait([first])
        third.cancel()
    assert (first.cancelled(), third.cancelled(), service.asked) == (True, True, 1)
    assert second.result() is await service.authenticate(token)


async def test_nor_does_it_matter_when_all_do(service: Service, token: str) -> None:
    async with service.asking(token, times=2) as tasks:
        for task in tasks:
            task.cancel()
    assert service.flights == 0
    await service.authenticate(token)
    assert service.asked == 1


async def test_a_failure_is_everybodys_and_nobody_keeps_it(
    service: Service, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Resolved:
        raise ServiceUnavailable("not now")

    with monkeypatch.context() as patch:
        patch.setattr(authenticator, "question", lambda *_: fail)
        answers = await asyncio.gather(*(service.authenticate(token) for _ in range(10)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {ServiceUnavailable}
    assert (service.asked, service.flights, len(service.cache)) == (1, 0, 0)
    assert (await service.authenticate(token)).may(Permission.READ)


async def test_a_failure_that_nobody_waits_for(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """The event loop has nothing to complain of."""
    async with service.asking(mint().plain) as (task,):
        task.cancel()
    assert service.flights == 0
    gc.collect()
    assert caplog.text == ""


async def test_tokens_that_are_none_leave_nothing(service: Service) -> None:
    tokens = [mint().plain for _ in range(50)] + ["x" * 4000] * 50
    answers = await asyncio.gather(*map(service.authenticate, tokens), return_exceptions=True)
    assert {type(answer) for answer in answers} == {InvalidToken}
    await asyncio.sleep(0)
    assert (service.flights, len(service.cache), service.cache.take_uses()) == (0, 0, [])


class TestHowLong:
    """A token is known for as long as it is good, whatever ends that first."""

    @staticmethod
    async def lives_for(service: Service, token: str, seconds: float) -> bool:
        """And for no second longer."""
        await service.authenticate(token)
        digest, now = hashlib.sha256(token.encode()).digest(), steady()
        before, after = (service.cache.get(digest, now + age) for age in (seconds - 5, seconds))
        return before is not None and after is None

    async def test_an_api_token_with_an_end(self, service: Service, url: str, ann: int) -> None:
        assert await self.lives_for(service, add_token(url, ann, expires_in=MINUTE), 60)

    async def test_one_without(self, service: Service, token: str) -> None:
        assert not await self.lives_for(service, token, 1e9)

    @pytest.mark.parametrize(
        ("columns", "seconds"),
        [
            ("user_agent = NULL", 15 * 60),
            ("expires_at = timezone('utc', now()) + interval '1 minute'", 60),
            ("last_activity_at = timezone('utc', now()) - interval '7 days' + interval '1 minute'", 60),
        ],
        ids=["token", "session", "idle"],
    )
    async def test_a_session(self, service: Service, url: str, ann: int, columns: str, seconds: float) -> None:
        with transaction(service.engine) as session:
            pair = service.sessions.open(session, session.get_one(User, ann), Origin())
        execute(url, f"UPDATE user_sessions SET {columns}")
        assert await self.lives_for(service, pair.access_token, seconds)


async def test_a_hung_database_keeps_few_threads(service: Service, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask for the health report, and leave."""
    at_work, most, goes_on = 0, 0, threading.Event()

    def hang(*_: object) -> Resolved:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        goes_on.wait(10)
        at_work -= 1
        raise InvalidToken

    monkeypatch.setattr(authenticator, "OUTAGE_DEADLINE", 0.05)
    monkeypatch.setattr(authenticator, "question", lambda *_: hang)
    ask = service.authenticator.authenticate_in_outage
    for _ in range(3):
        answers = await asyncio.gather(*(ask(token) for _ in range(5)), return_exceptions=True)
        assert {type(answer) for answer in answers} == {DatabaseUnavailable}
    goes_on.set()
    assert most == 4
    monkeypatch.undo()
    assert (await ask(token)).user.email == "ann@example.test"
