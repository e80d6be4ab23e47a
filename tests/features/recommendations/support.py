"""Callers of the API of recommendations, and the rows behind it."""

import json
from itertools import count
from typing import Any, NamedTuple

import httpx

from tests.support.identity import SCOPES, Service, add_token, add_user, execute
from tests.support.service import bearer

RECOMMENDATIONS = "/api/recommendations"
GOOD = {"symbol": "AAPL", "recommendation_type": "buy", "confidence_score": "70"}

EXECUTE = {"status": "executed", "execution_price": "101.5"}
DISMISS = {"status": "dismissed"}
CLOSE = {"status": "closed", "actual_pnl": "12.5"}

PAST, FUTURE = "2020-01-01T00:00:00Z", "2050-01-01T00:00:00Z"

JSON, NDJSON = "application/json", "application/x-ndjson"

_NUMBERS = count(1)


class Caller(NamedTuple):
    """A user with an API token; nobody else has recommendations of theirs."""

    service: Service
    id: int
    headers: dict[str, str]

    async def get(self, path: str | int = "", **params: Any) -> httpx.Response:
        url = f"{RECOMMENDATIONS}/{path}" if path else RECOMMENDATIONS
        return await self.service.client.get(url, headers=self.headers, params=params)

    async def post(self, body: Any, *, key: str | None = None) -> httpx.Response:
        """`body` as JSON; bytes are sent as they are."""
        return await self.send(body, {"Idempotency-Key": key} if key is not None else {})

    async def send(self, body: Any, headers: Any, *, batch: bool = False) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": JSON} | self.headers | headers
        url = f"{RECOMMENDATIONS}/batch" if batch else RECOMMENDATIONS
        return await self.service.client.post(url, headers=sent, content=content)

    async def patch(self, number: int, body: Any) -> httpx.Response:
        """`body` as JSON; bytes are sent as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = self.headers | {"Content-Type": JSON}
        return await self.service.client.patch(f"{RECOMMENDATIONS}/{number}", headers=headers, content=content)

    async def create(self, **more: Any) -> dict[str, Any]:
        return good(await self.post(GOOD | more), 201)

    async def read(self, number: int, **params: Any) -> dict[str, Any]:
        return good(await self.get(number, **params))

    async def move(self, number: int, body: dict[str, str]) -> dict[str, Any]:
        return good(await self.patch(number, body))

    async def listed(self, **params: Any) -> list[int]:
        """The ids on a page."""
        return [item["id"] for item in good(await self.get(**params))["items"]]

    def add(self, **columns: Any) -> int:
        return add_row(self.service.url, self.id, **columns)

    def rows(self) -> list[str]:
        """All there are, as text, by their ids."""
        found = execute(
            self.service.url,
            "SELECT row::text AS row FROM ai_recommendations AS row WHERE user_id = :id ORDER BY row.id",
            id=self.id,
        )
        return [each["row"] for each in found]

    def keys(self) -> int:
        """How many idempotency keys are remembered."""
        (row,) = execute(self.service.url, "SELECT count(*) AS n FROM idempotency_keys WHERE user_id = :id", id=self.id)
        number: int = row["n"]
        return number


def new_caller(service: Service, role: str = "member", scopes: tuple[str, ...] = SCOPES) -> Caller:
    user_id = add_user(service.url, f"caller{next(_NUMBERS)}@example.test", role=role)
    return Caller(service, user_id, bearer(add_token(service.url, user_id, scopes)))


def another_token(caller: Caller, *scopes: str) -> Caller:
    """The same user, with a token of these scopes."""
    return caller._replace(headers=bearer(add_token(caller.service.url, caller.id, scopes)))


def good(answer: httpx.Response, status: int = 200) -> dict[str, Any]:
    """The body of an answer that has this status."""
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    return body


def add_row(url: str, user_id: int | None, **columns: Any) -> int:
    """A row as any deployment may hold it; its id."""
    values = GOOD | {"analysis_data": "{}", "status": "pending", "user_id": user_id} | columns
    (row,) = execute(
        url,
        f"INSERT INTO ai_recommendations ({', '.join(values)}, created_at) "
        f"VALUES ({', '.join(f':{name}' for name in values)}, timezone('utc', now())) RETURNING id",
        **values,
    )
    number: int = row["id"]
    return number


def change(url: str, number: int, assignments: str, **parameters: Any) -> None:
    execute(url, f"UPDATE ai_recommendations SET {assignments} WHERE id = :id", id=number, **parameters)


def let_expire(url: str, number: int) -> None:
    change(url, number, "expires_at = timezone('utc', clock_timestamp()) - interval '1 millisecond'")


def nested(levels: int, inside: str = "") -> str:
    """As JSON: lists in one another."""
    return "[" * levels + inside + "]" * levels


def spelled(body: dict[str, Any], **literals: str) -> bytes:
    """JSON, these members as they are written here."""
    rest = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in body.items() if name not in literals)
    written = (f"{json.dumps(name)}: {literal}" for name, literal in literals.items())
    return f"{{{', '.join([*rest, *written])}}}".encode()
