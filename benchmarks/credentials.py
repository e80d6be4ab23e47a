"""Sessions that a service of this installation takes for its own, written by hand: nobody signs in 100,000 times."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import text

from app.core.settings import load_settings
from app.db.engine import connect
from app.identity.jwt import Claims, SigningKeys, TokenType, new_jti
from app.lifespan import jwt_secret

LIFETIME = timedelta(hours=12)

_OPEN = """
WITH people AS (
    INSERT INTO users (email, role, is_active, preferences, created_at, updated_at)
    SELECT :name || n || '@credentials.test', 'member', true, '{}', timezone('utc', now()), timezone('utc', now())
    FROM generate_series(1, :number) AS n RETURNING id
)
INSERT INTO user_sessions (user_id, access_token_jti, refresh_token_jti, created_at, last_activity_at, expires_at)
SELECT id, :name || 'a' || id, :name || 'r' || id, timezone('utc', now()), timezone('utc', now()),
       timezone('utc', now()) + interval '30 days'
FROM people RETURNING id, user_id
"""


class Credential(NamedTuple):
    session_id: int
    user_id: int
    token: str


def open_sessions(url: str, number: int) -> list[Credential]:
    """One for each of so many new users, with an access token that outlives the measurement."""
    keys, now = SigningKeys(jwt_secret(load_settings())), datetime.now(UTC)
    with connect(url) as connection, connection.begin():
        rows = connection.execute(text(_OPEN), {"name": secrets.token_hex(4), "number": number}).tuples().all()
    return [
        Credential(
            session_id,
            user_id,
            keys.sign(TokenType.ACCESS, Claims.of(user_id, session_id, new_jti(), now, now + LIFETIME)),
        )
        for session_id, user_id in rows
    ]
