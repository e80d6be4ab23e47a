"""Lists, newest first, paged by key: `?limit=` and `?cursor=`. No FastAPI here: services may import it."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from annotated_types import Ge, Le
from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError
from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.web.schemas import MAX_ID, Reply

T = TypeVar("T")

# The version stands first so that a later cursor may hold more than an id.
_KEY = re.compile(rb"1:([1-9][0-9]{0,9})")
_MAX_CURSOR = 64


class Page(Reply, Generic[T]):
    items: list[T]
    next_cursor: str | None


def encode_cursor(key: int) -> str:
    """The opaque, URL-safe name of the place after the row `key`."""
    return urlsafe_b64encode(b"1:%d" % key).rstrip(b"=").decode()


def decode_cursor(cursor: Any) -> int:
    """The key in a cursor that `encode_cursor` made.

    Raises:
        PydanticCustomError: it did not make this one.
    """
    try:
        text = str(cursor)[:_MAX_CURSOR].encode("ascii")
        found = _KEY.fullmatch(urlsafe_b64decode(text + b"=" * (-len(text) % 4)))
    except ValueError:
        found = None
    # Base64 decoders overlook stray characters; only the one spelling is good.
    if found is None or int(found[1]) > MAX_ID or encode_cursor(int(found[1])) != cursor:
        raise PydanticCustomError("invalid_cursor", "Use a next_cursor as it was answered, or leave it out")
    return int(found[1])


Cursor = Annotated[int, BeforeValidator(decode_cursor), WithJsonSchema({"type": "string"})]


@dataclass(frozen=True)
class PageParams:
    """Which page a client asks for; in a route, `page: Annotated[PageParams, Depends()]`."""

    limit: Annotated[int, Ge(1), Le(200)] = 50
    cursor: Cursor | None = None


def paginate(
    session: Session, statement: Select[T], key: InstrumentedAttribute[int], page: PageParams
) -> tuple[list[T], str | None]:
    """One page of the entity `statement` selects, and the cursor of the next page if there is one.

    Args:
        session: Where to run it, as one query.
        statement: Filters only; order and limit are put here.
        key: A unique column of the entity that grows with time.
        page: What the client asked for.
    """
    if page.cursor is not None:
        statement = statement.where(key < page.cursor)
    rows = list(session.scalars(statement.order_by(key.desc()).limit(page.limit + 1)))
    items = rows[: page.limit]
    more = len(rows) > page.limit
    return items, encode_cursor(getattr(items[-1], key.key)) if more else None
