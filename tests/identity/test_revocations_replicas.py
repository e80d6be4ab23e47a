"""Replicas as processes: one revokes, the other heeds it, whatever becomes of what tells it."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import httpx
import psutil
import pytest

from app.db.embedded.server import EmbeddedPostgres
from app.db.engine import application_name, make_engine
from app.identity.activity import Origin
from app.identity.sessions import Sessions
from app.lifespan import jwt_secret
from app.models.database import User
from app.web.session import transaction
from tests.support.identity import add_token, add_user, execute
from tests.support.postgres import FAST
from tests.support.service import MVP_TOKEN, Server, bearer, data_folder, settings_for, uvicorn_process

pytestmark = pytest.mark.slow

ME, USERS = "/api/users/me", "/api/users"
WITHIN = 1.0
"""Seconds after a revocation from which no request may start and be admitted."""

LISTENERS = "SELECT pid FROM pg_stat_activity WHERE application_name = :name"
CLIENTS = 8


class Replicas(NamedTuple):
    url: str
    data_dir: Path
    one: Server
    other: Server


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """On a server of their own: its processes are killed and stopped."""
    with ExitStack() as stack:
        data = stack.enter_context(data_folder())
        postgres = EmbeddedPostgres(data / "postgres", settings=FAST)
        stack.callback(postgres.stop)
        variables = {"DATABASE_URL": postgres.start(), "API_TOKEN": MVP_TOKEN, "DATA_DIR": str(data / "shared")}
        folder, servers = tmp_path_factory.mktemp("replicas"), []
        for _ in range(2):
            servers.append(stack.enter_context(uvicorn_process(folder, variables)))
            servers[-1].wait_until_up()
        yield Replicas(variables["DATABASE_URL"], data / "shared", *servers)


def listeners(url: str) -> list[int]:
    return [row["pid"] for row in execute(url, LISTENERS, name=application_name("listener"))]


def wait_until_heard(replicas: Replicas) -> None:
    """Who was disturbed tries again after five seconds at the latest."""
    deadline = time.monotonic() + 20
    for server in (replicas.one, replicas.other):
        while not server.get("/api/health/detailed", MVP_TOKEN).json()["dependencies"]["revocations"]["listening"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@contextmanager
def killed(url: str) -> Iterator[None]:
    """Who listens is thrown out, again and again."""
    done = threading.Event()
    kill = LISTENERS.replace("pid", "pg_terminate_backend(pid)", 1)

    def repeat() -> None:
        while not done.wait(0.03):
            execute(url, kill, name=application_name("listener"))

    with ThreadPoolExecutor(1) as pool:
        killing = pool.submit(repeat)
        try:
            yield
        finally:
            done.set()
            killing.result()


@contextmanager
def paused(url: str) -> Iterator[None]:
    """Who listens is connected, and nothing comes."""
    backends = [psutil.Process(pid) for pid in listeners(url)]
    assert len(backends) == 2
    for backend in backends:
        backend.suspend()
    try:
        yield
    finally:
        for backend in backends:
            with suppress(psutil.NoSuchProcess):
                backend.resume()


class Credential(NamedTuple):
    token: str
    path: str
    """What it is good for."""
    revoke: tuple[str, str, dict[str, str] | None]
    """The request by which an owner, or who has it, takes that away."""
    by: str
    refusal: int


def sessions_of(replicas: Replicas, count: int) -> list[Credential]:
    settings = settings_for(replicas.url, replicas.data_dir)
    sessions = Sessions.of(settings, jwt_secret(settings))
    user_id = add_user(replicas.url, f"{time.monotonic_ns()}@sessions.test")
    by, engine = add_token(replicas.url, user_id), make_engine(replicas.url)
    with transaction(engine) as session:
        user = session.get_one(User, user_id)
        pairs = [sessions.open(session, user, Origin()) for _ in range(count)]
    engine.dispose()
    return [
        Credential(pair.access_token, ME, ("DELETE", f"/api/sessions/{pair.session_id}", None), by, 401)
        for pair in pairs
    ]


def tokens_of(replicas: Replicas, count: int) -> list[Credential]:
    user_id = add_user(replicas.url, f"{time.monotonic_ns()}@tokens.test")
    by = add_token(replicas.url, user_id)
    tokens = {token[:12]: token for token in (add_token(replicas.url, user_id) for _ in range(count))}
    rows = execute(replicas.url, "SELECT id, prefix FROM api_tokens WHERE user_id = :id", id=user_id)
    return [
        Credential(tokens[row["prefix"]], ME, ("DELETE", f"/api/tokens/{row['id']}", None), by, 401)
        for row in rows
        if row["prefix"] in tokens
    ]


def owners(replicas: Replicas, count: int) -> list[Credential]:
    ids = [add_user(replicas.url, f"{time.monotonic_ns()}@owners.test", role="owner") for _ in range(count)]
    return [
        Credential(
            add_token(replicas.url, each), USERS, ("PATCH", f"{USERS}/{each}", {"role": "member"}), MVP_TOKEN, 403
        )
        for each in ids
    ]


class Answer(NamedTuple):
    credential: Credential
    asked_at: float
    status: int


def client_of(server: Server) -> httpx.Client:
    return httpx.Client(base_url=server.url, timeout=10, trust_env=False)


def ask_until(done: threading.Event, server: Server, credentials: list[Credential], seed: int) -> list[Answer]:
    """In any order, one request after another."""
    random, answers = Random(seed), []
    with client_of(server) as client:
        while not done.is_set():
            credential, asked_at = random.choice(credentials), time.monotonic()
            answer = client.get(credential.path, headers=bearer(credential.token))
            answers.append(Answer(credential, asked_at, answer.status_code))
    return answers


def revoke_all(server: Server, credentials: list[Credential]) -> dict[str, float]:
    """When each was answered to be revoked, by its token; who asks the same replica next is refused already."""
    revoked_at = {}
    with client_of(server) as client:
        for credential in credentials:
            method, path, body = credential.revoke
            asked: dict[str, Any] = {"url": credential.path, "headers": bearer(credential.token)}
            assert client.get(**asked).status_code == 200
            answer = client.request(method, path, headers=bearer(credential.by), json=body)
            assert answer.is_success, answer.text
            revoked_at[credential.token] = time.monotonic()
            assert client.get(**asked).status_code == credential.refusal
            time.sleep(0.01)
    return revoked_at


@pytest.mark.parametrize("disturbed", [nullcontext, killed, paused], ids=["heard", "killed", "paused"])
def test_a_storm(replicas: Replicas, disturbed: Callable[[str], AbstractContextManager[None]]) -> None:
    wait_until_heard(replicas)
    credentials = [*sessions_of(replicas, 30), *tokens_of(replicas, 12), *owners(replicas, 8)]
    Random(1).shuffle(credentials)
    done = threading.Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        asking = [pool.submit(ask_until, done, replicas.other, credentials, seed) for seed in range(CLIENTS)]
        try:
            time.sleep(0.5)
            with disturbed(replicas.url):
                revoked_at = revoke_all(replicas.one, credentials)
                time.sleep(WITHIN + 0.5)
        finally:
            done.set()
    answers = [answer for each in asking for answer in each.result()]
    admitted = {answer.credential.token for answer in answers if answer.status == 200}
    refused = {answer.credential.token for answer in answers if answer.status == answer.credential.refusal}
    late = [answer for answer in answers if answer.asked_at > revoked_at[answer.credential.token] + WITHIN]
    assert len(admitted) == len(refused) == len(credentials)
    assert {(answer.status, answer.credential.refusal) for answer in late} == {(401, 401), (403, 403)}
    # 503 to whoever waited for a turn while it was revoked.
    assert {answer.status for answer in answers} - {503} == {200, 401, 403}
