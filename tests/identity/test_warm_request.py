"""What authentication costs: nothing but memory once a token is known, one statement before."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import anyio
import pytest
from jose import jws
from sqlalchemy import Engine, event
from sqlalchemy.pool import Pool

from app.core.logging import request_id_var
from app.db.notifications import Listener
from app.identity import authenticator
from app.identity.tokens import mint
from tests.support.identity import Service, add_session, add_token, add_user, execute, open_session
from tests.support.service import MVP_TOKEN, bearer

pytestmark = pytest.mark.anyio

ME = "/api/users/me"
KINDS = ("session", "api_token", "mvp_token")


@pytest.fixture(params=KINDS)
def token(service: Service, request: pytest.FixtureRequest) -> str:
    """One of each kind, that this process does not know."""
    (row,) = execute(service.url, "SELECT count(*) AS users FROM users")
    execute(service.url, "UPDATE users SET updated_at = timezone('utc', now())")
    if request.param == "mvp_token":
        return MVP_TOKEN
    user_id = add_user(service.url, f"user{row['users']}@example.test")
    return add_session(service.client, user_id) if request.param == "session" else add_token(service.url, user_id)


@contextmanager
def costs() -> Iterator[Counter[str]]:
    """What requests of this process use meanwhile of all that a warm one does without."""
    spent: Counter[str] = Counter()
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:

        def spend(what: str) -> None:
            if request_id_var.get() is not None:  # what runs beside the requests is not theirs
                spent[what] += 1

        def count_calls(owner: Any, name: str, what: str) -> None:
            original = getattr(owner, name)

            def counted(*args: Any, **named: Any) -> Any:
                spend(what)
                return original(*args, **named)

            patch.setattr(owner, name, counted)

        def count_events(owner: Any, name: str, what: str) -> None:
            def note(*_: Any) -> None:
                spend(what)

            event.listen(owner, name, note)
            stack.callback(event.remove, owner, name, note)

        count_events(Engine, "before_cursor_execute", "statements")
        count_events(Pool, "checkout", "checkouts")
        count_calls(anyio.to_thread, "run_sync", "hops")
        count_calls(asyncio.get_running_loop(), "run_in_executor", "hops")
        count_calls(type(anyio.CapacityLimiter(1)), "acquire_on_behalf_of", "places")
        count_calls(threading.Thread, "start", "threads")
        count_calls(jws, "verify", "signatures")
        yield spent


async def ask(service: Service, token: str, path: str = ME, method: str = "GET") -> Counter[str]:
    """What a request costs that is answered."""
    with costs() as spent:
        answer = await service.client.request(method, path, headers=bearer(token))
    assert answer.status_code == 200
    return +spent


async def test_who_am_i(service: Service, token: str) -> None:
    is_signed = token.startswith("ey")
    once = Counter(statements=1, checkouts=1, hops=1, places=2, signatures=int(is_signed))
    cold = await ask(service, token)
    cold.pop("threads", None)  # one may be there already
    assert cold == +once
    for method in ("GET", "HEAD", "GET"):
        assert not await ask(service, token, method=method)


async def test_any_other_route(service: Service, token: str) -> None:
    """Whatever it does itself, authentication adds nothing to it."""
    path = "/api/sessions"
    cold, warm = [await ask(service, token, path) for _ in range(2)]
    assert cold["statements"] == 2
    assert (warm["statements"], warm["checkouts"], warm["signatures"]) == (1, 1, 0)
    assert (cold["hops"] - warm["hops"], cold["places"] - warm["places"]) == (1, 2)


async def test_many_at_once_ask_once(service: Service, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authenticator, "JOINABLE", 10)  # however slow this machine is
    with costs() as spent:
        answers = await asyncio.gather(*(service.client.get(ME, headers=bearer(token)) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert (spent["statements"], spent["checkouts"], spent["hops"]) == (1, 1, 1)


async def test_a_change_is_one_more_statement(service: Service, token: str) -> None:
    await ask(service, token)
    assert not await ask(service, token)
    execute(service.url, "UPDATE users SET full_name = 'Somebody'")
    with costs() as spent:
        answer = await service.client.get(ME, headers=bearer(token))
    assert answer.json()["full_name"] == "Somebody"
    assert spent["statements"] == 1
    assert not await ask(service, token)


async def test_one_that_says_itself_that_it_is_not_good(service: Service) -> None:
    """No database is needed for that, nor a turn."""
    mistyped = f"{mint().plain[:-1]}!".replace("!", "0")
    session = add_session(service.client, add_user(service.url, "forged@example.test"))
    for token in (mistyped, f"{session[:-4]}AAAA"):
        with costs() as spent:
            answer = await service.client.get(ME, headers=bearer(token))
        assert answer.status_code == 401
        assert spent.keys() <= {"signatures"}


async def test_a_refresh_waits_for_no_proof(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told of it."""
    pair = open_session(service.client, add_user(service.url, "again@example.test"))
    waited: list[float] = []
    monkeypatch.setattr(Listener, "catch_up", lambda _, timeout: waited.append(timeout))
    answer = await service.client.post("/api/auth/refresh", json={"refresh_token": pair.refresh_token})
    assert (answer.status_code, waited) == (200, [])
    answer = await service.client.post("/api/auth/logout", headers=bearer(answer.json()["access_token"]))
    assert answer.is_success
    assert waited
