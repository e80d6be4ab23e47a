"""How long a request waits for what another transaction has locked."""

from sqlalchemy import text
from sqlalchemy.orm import Session

LOCK_TIMEOUT = 5000
"""Milliseconds."""


def bound_waits(session: Session) -> None:
    """Let no statement of the transaction wait for somebody's lock longer than LOCK_TIMEOUT: a client is told 503.

    For locks that another request may hold for long, so that those who wait do not take all connections.
    """
    session.execute(text(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT:d}"))
