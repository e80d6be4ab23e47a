"""What every process is told when a credential is revoked, or what it shows changes.

Triggers on `users`, `user_sessions` and `api_tokens` tell it (revision a17d5e90c3f8), so that nobody who changes them
can forget to.
"""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Engine, event
from sqlalchemy.pool import ConnectionPoolEntry

from app.db.notifications import LEASE, Channel, Listener
from app.identity.principal_cache import PrincipalCache

REVOCATIONS: Final = Channel(
    name="revocations",
    guard="""
        WITH watched AS (
            SELECT to_regclass(name)::oid AS id FROM unnest(ARRAY ['users', 'user_sessions', 'api_tokens']) AS name)
        SELECT string_agg(concat_ws(' ', oid, xmin, pg_relation_filenode(tgrelid)), ',' ORDER BY oid)
          FROM pg_trigger
         WHERE tgrelid IN (SELECT id FROM watched) AND tgfoid = to_regproc('tell_revocations') AND tgenabled = 'A'
               AND (tgname, tgtype) IN (
                   ('revocations_on_update', 16), ('revocations_on_delete', 8), ('revocations_on_truncate', 32))
               AND NOT EXISTS (SELECT FROM pg_subscription_rel WHERE srrelid IN (SELECT id FROM watched))
        HAVING count(*) = 9
    """,
    unguarded="the triggers that tell of revocations are missing, changed or disabled, or a subscription writes past "
    "them: run `cd backend && python verify_schema.py`",
)

_ID: Final = re.compile(r"-?[0-9]{1,10}", re.ASCII)
_CHANGE: Final = re.compile(
    r"(?:UPDATE|DELETE FROM) (?:users|user_sessions|api_tokens)\b"
    r"(?! SET (?:access_token_jti|last_activity_at|last_used_at)=)"
)
"""Of statements as SQLAlchemy writes them: those that somebody is told of, so not a refresh or a use."""

_CHANGED: Final = "has changed what credentials may do"


@contextmanager
def heard_revocations(url: str, via: str) -> Iterator[tuple[PrincipalCache, Listener]]:
    """A cache that forgets what is revoked, and who tells it; they listen at `url`, while requests go `via`."""
    cache = PrincipalCache()
    listener = Listener(url, REVOCATIONS, partial(_forget, cache), cache.forget_everybody, via=via)
    cache.is_current = listener.is_current
    listener.start()
    with closing(listener):
        yield cache, listener


def follow(engine: Engine, listener: Listener) -> None:
    """Let the listener look anew whether it is at the right database whenever `engine` has connected to one."""

    @event.listens_for(engine, "connect")
    def look_anew(*_: Any) -> None:
        listener.look_anew()


def heed_own_changes(engine: Engine, listener: Listener) -> None:
    """Let whoever changes something through `engine` go on once this process has heard of it.

    Other processes hear of it a moment later; a client that comes back to this one finds its own change done.
    """

    @event.listens_for(engine, "before_cursor_execute")
    def note(connection: Connection, _: Any, statement: str, *__: Any) -> None:
        if _CHANGE.match(statement):
            connection.info[_CHANGED] = True

    @event.listens_for(engine, "checkin")
    def wait(_: Any, record: ConnectionPoolEntry) -> None:
        if record.info.pop(_CHANGED, False):
            listener.catch_up(LEASE)


def _forget(cache: PrincipalCache, whom: str) -> None:
    """`whom` is a user's id, or something else for everybody."""
    if _ID.fullmatch(whom):
        cache.forget(int(whom))
    else:
        cache.forget_everybody()
