"""Requests that may come again: the first answer is given again, and nothing is done twice.

The header `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a key is a user's own, for one operation, and
is remembered for 24 hours. A request that is refused is not remembered; the same key may try again.
No FastAPI here: services may import it.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from sqlalchemy import case, null, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.core.errors import FieldError, InvalidInput
from app.db.batches import delete_older
from app.db.lock_waits import bound_waits
from app.models.base import database_now
from app.models.database import IdempotencyKey
from app.web.schemas import Body, Reply

R = TypeVar("R", bound=Reply)

HEADER = "Idempotency-Key"
REMEMBERED = timedelta(hours=24)

_FORGOTTEN_AT_ONCE = 100
"""Old keys that each new one takes along."""

_PLACE = (IdempotencyKey.user_id, IdempotencyKey.operation, IdempotencyKey.key)


class Operation(StrEnum):
    RECOMMEND = "recommend"
    RECOMMEND_BATCH = "recommend_batch"


class IdempotencyKeyReused(InvalidInput):
    code, title = "idempotency_key_reused", "Idempotency key used before"

    def __init__(self) -> None:
        message = "This key came with another body in the last 24 hours; use a new key for a new request"
        super().__init__([FieldError(f"header/{HEADER}", self.code, message)])


def fingerprint(bodies: Iterable[Body]) -> bytes:
    """A hash of what is asked, however it was spelled as JSON: 32 bytes."""
    canonical = json.dumps([body.model_dump(mode="json") for body in bodies], sort_keys=True)
    return hashlib.sha256(canonical.encode()).digest()


def once(
    session: Session, place: tuple[int, Operation, str] | None, asked: bytes, reply: type[R], work: Callable[[], R]
) -> R:
    """What `work` answers, or did answer when the same was asked with the same key.

    Who comes with a key while its first request is at work waits for that one to end.

    Args:
        session: The transaction that `work` writes in.
        place: The user's id, the operation and the key; None where no key was sent.
        asked: The fingerprint of the request.
        reply: The model of the answer.
        work: What to do the first time; what it raises undoes it, and the key is free again.

    Raises:
        IdempotencyKeyReused: the key came with another request before.
    """
    if place is None:
        return work()
    before = _begin(session, place, asked)
    if before.answer is not None:
        if before.fingerprint != asked:
            raise IdempotencyKeyReused
        return reply.model_validate(before.answer, by_name=True)
    answer = work()
    session.execute(
        update(IdempotencyKey).where(tuple_(*_PLACE) == place).values(answer=answer.model_dump(mode="json"))
    )
    prune_keys(session, _FORGOTTEN_AT_ONCE)
    return answer


def _begin(session: Session, place: tuple[int, Operation, str], asked: bytes) -> IdempotencyKey:
    """The key's row, made new where there is none or an old one; another transaction's is waited for."""
    bound_waits(session)
    user_id, operation, key = place
    row = insert(IdempotencyKey).values(user_id=user_id, operation=operation, key=key, fingerprint=asked)
    is_old = IdempotencyKey.created_at <= database_now - REMEMBERED
    renewed = {
        "fingerprint": case((is_old, row.excluded.fingerprint), else_=IdempotencyKey.fingerprint),
        "answer": case((is_old, null()), else_=IdempotencyKey.answer),
        "created_at": case((is_old, database_now), else_=IdempotencyKey.created_at),
    }
    statement = row.on_conflict_do_update(index_elements=["user_id", "operation", "key"], set_=renewed)
    return session.scalars(statement.returning(IdempotencyKey), execution_options={"populate_existing": True}).one()


def prune_keys(session: Session, batch: int, *, since: datetime | None = None) -> list[datetime]:
    """Delete keys that are remembered no longer, at most `batch`, from `since` on; when they came."""
    return delete_older(session, IdempotencyKey.created_at, database_now - REMEMBERED, batch, since)
