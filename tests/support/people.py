"""People who own some of everything, and whatever of it an answer shows or a request changes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from app.identity.tokens import mint
from tests.support.identity import Service, add_token, add_user, execute, open_session
from tests.support.service import MVP_TOKEN

NO_ID = 2**31 - 1
"""What no row of any table has."""

_TABLES = {
    "users": "id",
    "user_sessions": "user_id",
    "api_tokens": "user_id",
    "invitations": "created_by",
    "password_resets": "user_id",
    "mvp_claim": "1",
    "order_templates": "user_id",
    "ai_recommendations": "user_id",
}
"""Whose a row is. The claim is the MVP user's, also when that is gone."""

_MOVED_BY_ITS_USE = {"user_sessions": "last_activity_at", "api_tokens": "last_used_at"}

_HELD = " UNION ALL ".join(
    f"SELECT '{table}' AS name, id, {owner} AS owner, to_jsonb(t) - '{_MOVED_BY_ITS_USE.get(table, '')}' AS columns "
    f"FROM {table} t"
    for table, owner in _TABLES.items()
)


class Row(NamedTuple):
    owner: int | None
    columns: Mapping[str, Any]


Rows = dict[tuple[str, int], Row]
"""By table and id."""


@dataclass(frozen=True)
class Holder:
    ids: Mapping[str, int]
    """Of an object of each kind, by the parameter that names it in a path."""
    marks: Mapping[str, str]
    """What tells an object of theirs, as an answer shows it: its id, or `name`, which is in all of their texts."""

    def shown_in(self, answer: str) -> set[str]:
        """The names of the marks that are in the text."""
        found = re.split(r"[^A-Za-z0-9_]", answer)
        return {name for name, mark in self.marks.items() if mark in found}


@dataclass(frozen=True)
class Person(Holder):
    """The tokens are none of the objects with the ids."""

    id: int
    email: str
    username: str
    access_token: str
    refresh_token: str
    api_token: str
    """With every scope."""
    api_token_id: int


def spread_ids(url: str) -> None:
    """Let new rows have ids that are no other number, and no id of another table."""
    tables = "users user_sessions api_tokens invitations activity_log order_templates ai_recommendations"
    for place, table in enumerate(tables.split()):
        start = 1_000_000_000 + 123_456_789 * place
        execute(url, f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {start})")


def add_person(service: Service, name: str, role: str = "member", password_hash: str | None = None) -> Person:
    """Somebody whose texts all have the word `name` in them."""
    url, email, username = service.url, f"{name}@people.test", f"{name}.username"
    user_id = add_user(url, email, role=role)
    execute(
        url,
        "UPDATE users SET username = :username, full_name = :text, alpaca_account_id = :text, password_hash = :hash, "
        "preferences = jsonb_build_object('note', CAST(:text AS text)) WHERE id = :id",
        username=username,
        text=f"{name} text",
        hash=password_hash,
        id=user_id,
    )
    signed_in, elsewhere = (open_session(service.client, user_id) for _ in range(2))
    execute(url, "UPDATE user_sessions SET user_agent = :text WHERE user_id = :id", text=f"{name} text", id=user_id)
    api_token, spare = add_token(url, user_id), add_token(url, user_id)
    ids = {
        "user_id": user_id,
        "session_id": elsewhere.session_id,
        "token_id": _named(url, spare, name),
        "invitation_id": _invited(url, user_id, name),
        **add_trading(url, user_id, name),
    }
    also = {"activity_id": str(_logged(url, user_id, name)), "prefix": spare[:12]}
    return Person(
        ids,
        _marks(ids, name) | also,
        user_id,
        email,
        username,
        signed_in.access_token,
        signed_in.refresh_token,
        api_token,
        _named(url, api_token, name),
    )


def mvp_user() -> Person:
    """Reached by the token from the configuration; has nothing but that."""
    ids = {"user_id": 1, "token_id": 1}
    return Person(ids, {"name": "mvp"}, 1, "mvp@localhost", "mvp", MVP_TOKEN, MVP_TOKEN, MVP_TOKEN, 1)


def add_nobodys(service: Service) -> Holder:
    """What older deployments left behind: rows that no user has."""
    ids = add_trading(service.url, None, "orphan")
    return Holder(ids, _marks(ids, "orphan"))


def add_trading(url: str, user_id: int | None, name: str) -> dict[str, int]:
    """The ids of one of two order templates, and of one of two recommendations: it is pending, the other is closed."""
    texts = {"user_id": user_id, "symbol": f"{name[:19].upper()}_", "text": f"{name} text"}
    template, _ = execute(
        url,
        "INSERT INTO order_templates (user_id, name, description, symbol, side, quantity, order_type, created_at, "
        "updated_at) SELECT :user_id, :text, :text, :symbol, 'buy', 1, 'market', timezone('utc', now()), "
        "timezone('utc', now()) FROM generate_series(1, 2) RETURNING id",
        **texts,
    )
    pending, _ = execute(
        url,
        "INSERT INTO ai_recommendations (user_id, symbol, recommendation_type, confidence_score, analysis_data, "
        "reasoning, market_context, status, actual_pnl, created_at) SELECT :user_id, :symbol, 'buy', 60, "
        "jsonb_build_object('note', CAST(:text AS text)), :text, :text, status, pnl, timezone('utc', now()) "
        "FROM (VALUES ('pending', NULL), ('closed', 1)) AS two (status, pnl) RETURNING id",
        **texts,
    )
    return {"template_id": template["id"], "recommendation_id": pending["id"]}


def rows(connection: Connection) -> Rows:
    """Everything that belongs to somebody or could, but for when a credential was used last."""
    return {(row.name, row.id): Row(row.owner, row.columns) for row in connection.execute(text(_HELD))}


def _named(url: str, token: str, name: str) -> int:
    """Give the token a name; its id."""
    rename = "UPDATE api_tokens SET name = :name WHERE prefix = :prefix RETURNING id"
    (row,) = execute(url, rename, name=f"{name} text", prefix=token[:12])
    token_id: int = row["id"]
    return token_id


def _invited(url: str, user_id: int, name: str) -> int:
    """The id of an invitation; a password reset comes with it."""
    issued = {"user_id": user_id, "secret_hash": mint().secret_hash, "in_a_day": timedelta(days=1)}
    execute(
        url,
        "INSERT INTO password_resets (user_id, secret_hash, expires_at) "
        "VALUES (:user_id, :secret_hash, timezone('utc', now()) + :in_a_day)",
        **issued,
    )
    (row,) = execute(
        url,
        "INSERT INTO invitations (secret_hash, role, email, created_by, expires_at) "
        "VALUES (:secret_hash, 'member', :email, :user_id, timezone('utc', now()) + :in_a_day) RETURNING id",
        email=f"guest@{name}.test",
        **issued,
    )
    invitation_id: int = row["id"]
    return invitation_id


def _logged(url: str, user_id: int, name: str) -> int:
    """The id of one of two rows in the activity log."""
    one, _ = execute(
        url,
        "INSERT INTO activity_log (user_id, user_email, actor_id, actor_email, actor_kind, action_type, details, "
        "user_agent, ip_address, request_id, timestamp) "
        "SELECT :id, :email, :id, :email, 'proven', 'signed_in', jsonb_build_object('note', CAST(:text AS text)), "
        ":text, :text, :text, timezone('utc', now()) FROM generate_series(1, 2) RETURNING id",
        id=user_id,
        email=f"{name}@people.test",
        text=f"{name} text",
    )
    activity_id: int = one["id"]
    return activity_id


def _marks(ids: Mapping[str, int], name: str) -> dict[str, str]:
    return {kind: str(number) for kind, number in ids.items()} | {"name": name, "symbol": f"{name[:19].upper()}_"}
