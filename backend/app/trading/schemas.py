"""Bodies that both features have."""

from typing import Annotated

from pydantic import Field

from app.web.schemas import MAX_ID, Body, Reply

MAX_IDS = 1000


class Adoption(Body):
    ids: Annotated[list[Annotated[int, Field(strict=True, ge=1, le=MAX_ID)]], Field(min_length=1, max_length=MAX_IDS)]
    """Rows that belong to nobody, to be the caller's own from now on; all of them or none."""


class IdsReply(Reply):
    ids: list[int]
