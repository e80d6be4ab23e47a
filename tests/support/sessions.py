"""Sessions opened and refreshed as routes do it, with real connections, and what is left of that in the database."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import RowMapping

from app.core.errors import InvalidToken
from app.identity.activity import Origin
from app.identity.sessions import EndReason, RefreshRefused, Sessions, TokenPair, end_sessions
from app.lifespan import jwt_secret
from app.models.database import User
from app.web.session import transaction
from tests.support.forgery import Forger
from tests.support.identity import Service, add_user, application, execute
from tests.support.service import bearer

ORIGIN = Origin("2001:db8::1", "Mozilla/5.0 (X11)", "request-1")
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


class Accounts:
    """Signs users of a running service in and refreshes their sessions, each in a transaction of its own."""

    def __init__(self, service: Service) -> None:
        app = application(service.client)
        self.url, self.client = service.url, service.client
        self.engine, self.sessions = app.state.engine, app.state.sessions
        self.secret = jwt_secret(app.state.settings)

    def add(self, **properties: Any) -> int:
        (row,) = execute(self.url, "SELECT coalesce(max(id), 0) AS id FROM users")
        return add_user(self.url, f"user{row['id']}@example.test", **properties)

    def open(self, user_id: int, origin: Origin = ORIGIN, sessions: Sessions | None = None) -> TokenPair:
        with transaction(self.engine) as session:
            return (sessions or self.sessions).open(session, session.get_one(User, user_id), origin)

    def refresh(self, token: str, origin: Origin = ORIGIN, sessions: Sessions | None = None) -> TokenPair:
        with transaction(self.engine) as session:
            return (sessions or self.sessions).refresh(session, token, origin)

    def is_refused(self, token: str) -> bool:
        """As what is no token at all; at most the log keeps that somebody tried with one whose session is over."""
        before = self.everything()
        with pytest.raises(InvalidToken) as refusal:
            self.refresh(token)
        return refusal.type in {InvalidToken, RefreshRefused} and self.everything() == before

    def end(self, user_id: int, reason: EndReason = EndReason.LOGOUT, **which: int) -> int:
        with transaction(self.engine) as session:
            return end_sessions(session, user_id, reason, **which)

    async def me(self, token: str) -> httpx.Response:
        """What the API answers somebody who presents `token`."""
        return await self.client.get("/api/users/me", headers=bearer(token))

    def claims(self, token: str) -> dict[str, Any]:
        return Forger(token, self.secret).claims

    def row(self, session_id: int) -> RowMapping:
        (row,) = execute(self.url, "SELECT * FROM user_sessions WHERE id = :id", id=session_id)
        return row

    def events(self, session_id: int) -> list[RowMapping]:
        return execute(
            self.url,
            "SELECT * FROM activity_log WHERE resource_type = 'session' AND resource_id = :id ORDER BY id",
            id=session_id,
        )

    def exchanges(self, session_id: int) -> list[RowMapping]:
        return execute(self.url, "SELECT * FROM refresh_token_exchanges WHERE session_id = :id", id=session_id)

    def everything(self) -> list[list[RowMapping]]:
        tried = "activity_log WHERE action_type <> 'refresh_refused'"
        tables = ("users", "user_sessions", "refresh_token_exchanges", tried)
        return [execute(self.url, f"SELECT * FROM {table} ORDER BY 1") for table in tables]

    def age(self, session_id: int, **columns: timedelta) -> None:
        for column, by in columns.items():
            execute(
                self.url, f"UPDATE user_sessions SET {column} = {column} - :by WHERE id = :id", by=by, id=session_id
            )

    def age_exchanges(self, session_id: int, by: timedelta) -> None:
        change = "UPDATE refresh_token_exchanges SET exchanged_at = exchanged_at - :by WHERE session_id = :id"
        execute(self.url, change, by=by, id=session_id)


def seconds(naive: datetime) -> int:
    return int(naive.replace(tzinfo=UTC).timestamp())
