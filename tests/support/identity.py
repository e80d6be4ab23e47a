"""Accounts made by hand, with real credentials, and a count of what reaches the database."""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from fastapi import FastAPI
from sqlalchemy import Engine, RowMapping, event, text
from sqlalchemy.pool import Pool

from app.db.engine import connect
from app.identity.activity import Origin
from app.identity.sessions import TokenPair
from app.identity.tokens import mint
from app.models.database import User
from app.web.session import transaction
from tests.support import postgres
from tests.support.service import heed_changes, in_process, settings_for

CHALLENGE = 'Bearer realm="api"'
INVALID = f'{CHALLENGE}, error="invalid_token"'
SCOPES = ("read", "write", "admin")


def insufficient(scope: str) -> str:
    return f'{CHALLENGE}, error="insufficient_scope", scope="{scope}"'


class Service(NamedTuple):
    url: str
    """Of its database."""
    client: httpx.AsyncClient
    """Presents no credential."""


@asynccontextmanager
async def fresh_service(server_url: str, template: str, folder: Path) -> AsyncIterator[Service]:
    """The service over a database of its own, for fixtures that live longer than one test."""
    with postgres.database(server_url, like=template) as url:
        async with in_process(settings_for(url, folder)) as client:
            yield Service(url, client)


def execute(url: str, statement: str, **parameters: Any) -> list[RowMapping]:
    """Run one statement in a transaction of its own; its rows, if it has any."""
    with connect(url) as connection, connection.begin():
        result = connection.execute(text(statement), parameters)
        rows = list(result.mappings()) if result.returns_rows else []
    if not statement.lstrip().startswith("SELECT"):
        heed_changes()
    return rows


def add_user(url: str, email: str, *, role: str = "member", is_active: bool = True) -> int:
    """A user without a password; its id."""
    (row,) = execute(
        url,
        "INSERT INTO users (email, role, is_active, preferences, created_at, updated_at) "
        "VALUES (:email, :role, :is_active, '{}', timezone('utc', now()), timezone('utc', now())) RETURNING id",
        email=email,
        role=role,
        is_active=is_active,
    )
    user_id: int = row["id"]
    return user_id


def add_token(
    url: str,
    user_id: int,
    scopes: Iterable[str] = SCOPES,
    *,
    expires_in: timedelta | None = None,
    revoked: bool = False,
) -> str:
    """An API token as the service would have made it; the token in clear."""
    minted = mint()
    now = datetime.now(UTC).replace(tzinfo=None)
    execute(
        url,
        "INSERT INTO api_tokens (user_id, name, prefix, secret_hash, scopes, expires_at, revoked_at) "
        "VALUES (:user_id, 'by hand', :prefix, :secret_hash, :scopes, :expires_at, :revoked_at)",
        user_id=user_id,
        prefix=minted.prefix,
        secret_hash=minted.secret_hash,
        scopes=list(scopes),
        expires_at=None if expires_in is None else now + expires_in,
        revoked_at=now if revoked else None,
    )
    return minted.plain


def application(client: httpx.AsyncClient) -> FastAPI:
    """What an in-process client talks to."""
    transport = client._transport  # noqa: SLF001
    assert isinstance(transport, httpx.ASGITransport)
    assert isinstance(transport.app, FastAPI)
    return transport.app


def note_uses(client: httpx.AsyncClient) -> None:
    """Have the uses of credentials written down that the service knows of; it does so itself only now and then."""
    application(client).state.note_uses()


def open_session(client: httpx.AsyncClient, user_id: int) -> TokenPair:
    """A session as a sign-in would open it, for users who have no password."""
    state = application(client).state
    with transaction(state.engine) as session:
        pair: TokenPair = state.sessions.open(session, session.get_one(User, user_id), Origin())
    return pair


def add_session(client: httpx.AsyncClient, user_id: int) -> str:
    """The access token of such a session."""
    return open_session(client, user_id).access_token


@contextmanager
def statements() -> Iterator[list[str]]:
    """What any engine of this process executes meanwhile."""
    seen: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@contextmanager
def checkouts() -> Iterator[list[object]]:
    """The connections that any pool of this process hands out meanwhile."""
    seen: list[object] = []

    def note(connection: object, *_: Any) -> None:
        seen.append(connection)

    event.listen(Pool, "checkout", note)
    try:
        yield seen
    finally:
        event.remove(Pool, "checkout", note)


def without_request_id(answer: httpx.Response) -> tuple[dict[str, str], dict[str, Any]]:
    """All of a refusal that may not differ between two of a kind: headers and body."""
    headers = {name: value for name, value in answer.headers.items() if name not in {"x-request-id", "content-length"}}
    body: dict[str, Any] = answer.json()
    return headers, {name: value for name, value in body.items() if name != "request_id"}
