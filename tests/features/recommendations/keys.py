"""Requests with an idempotency key, and what is told of them."""

from typing import Any

import httpx

from tests.features.recommendations.support import GOOD, Caller
from tests.support.identity import execute

OTHER = GOOD | {"symbol": "MSFT"}
REUSED = (422, "idempotency_key_reused")


async def post(caller: Caller, body: Any, key: str | bytes, *, batch: bool = False) -> httpx.Response:
    return await caller.send(body, {"Idempotency-Key": key}, batch=batch)


def said(answer: httpx.Response) -> tuple[int, bytes, str | None, str]:
    """All that a client goes by."""
    headers = answer.headers
    return answer.status_code, answer.content, headers.get("location"), headers["content-type"]


def grow_old(caller: Caller, hours: int = 24) -> None:
    execute(
        caller.service.url,
        "UPDATE idempotency_keys SET created_at = timezone('utc', now()) - :hours * interval '1 h' "
        "+ interval '5 s' * (:hours % 24) WHERE user_id = :id",
        hours=hours,
        id=caller.id,
    )
