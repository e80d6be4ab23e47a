"""What the service answers is what the OpenAPI document says of it."""

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from tests.features.order_templates.support import GOOD as TEMPLATE
from tests.features.recommendations.support import GOOD as RECOMMENDATION
from tests.support.accounts import PASSWORD, password_of, sign_in
from tests.support.identity import Service, add_token, execute
from tests.support.people import add_trading
from tests.support.service import MVP_TOKEN, bearer
from tests.support.surface import OPERATIONS

pytestmark = pytest.mark.anyio

TOKEN_ENDPOINT = "/api/auth/token"

ACCOUNT = {"email": "x@example.test", "password": PASSWORD}
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/api/tokens"): {"name": "x", "scopes": ["read"]},
    ("POST", "/api/auth/claim"): ACCOUNT,
    ("PATCH", "/api/users/me"): {},
    ("PUT", "/api/users/me/password"): {"current_password": PASSWORD, "new_password": PASSWORD},
    ("POST", "/api/users"): ACCOUNT | {"role": "member"},
    ("PATCH", "/api/users/{user_id}"): {},
    ("POST", "/api/invitations"): {"role": "member"},
    ("POST", "/api/order-templates"): TEMPLATE,
    ("POST", "/api/order-templates/adopt"): {"ids": [1]},
    ("PATCH", "/api/order-templates/{template_id}"): {},
    ("POST", "/api/recommendations"): RECOMMENDATION,
    ("POST", "/api/recommendations/batch"): [RECOMMENDATION],
    ("POST", "/api/recommendations/adopt"): {"ids": [1]},
    ("PATCH", "/api/recommendations/{recommendation_id}"): {"status": "dismissed"},
}

TRADING = ("/api/order-templates", "/api/recommendations")


@pytest.fixture(scope="module")
async def document(service: Service) -> dict[str, Any]:
    document: dict[str, Any] = (await service.client.get("/openapi.json")).json()
    return document


def check(document: dict[str, Any], path: str, answer: httpx.Response) -> None:
    responses = document["paths"][path][answer.request.method.lower()]["responses"]
    response = responses[str(answer.status_code)]
    if "content" not in response:
        assert answer.content == b""
        return
    schema = response["content"][answer.headers["content-type"]]["schema"]
    Draft202012Validator(schema | {"components": closed(document)["components"]}).validate(answer.json())


def closed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with schemas that allow no property beyond those they name."""
    document = deepcopy(document)
    for schema in document["components"]["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return document


class Calls:
    """Each of them succeeds, and is answered as the document has it."""

    def __init__(self, client: httpx.AsyncClient, document: dict[str, Any]) -> None:
        self.client = client
        self.document = document
        self.seen: set[tuple[str, str]] = set()

    async def __call__(self, method: str, path: str, ids: Mapping[str, Any] | None = None, **request: Any) -> Any:
        answer = await self.client.request(method, path.format_map(ids or {}), **request)
        assert answer.status_code < 300, answer.text
        check(self.document, path, answer)
        self.seen.add((method, path))
        return answer.json() if answer.content else None


async def test_successes(mvp: httpx.AsyncClient, document: dict[str, Any]) -> None:
    call = Calls(mvp, document)
    user = {"email": "ann@example.test", "password": PASSWORD}
    invitation = {"role": "member"}
    for path in ("/api/health", "/api/health/live", "/api/health/ready", "/api/health/detailed", "/api/users/me"):
        await call("GET", path)
    token = await call("POST", "/api/tokens", json={"name": "x", "scopes": ["read"]})
    await call("GET", "/api/tokens")
    await call("DELETE", "/api/tokens/{token_id}", {"token_id": token["id"]})
    founder = await call("POST", "/api/auth/claim", json=user)
    mvp.headers.update(bearer(founder["access_token"]))
    await call("POST", "/api/auth/refresh", json={"refresh_token": founder["refresh_token"]})
    signed_in = await call("POST", "/api/auth/login", json={"username": user["email"], "password": PASSWORD})
    form = {"grant_type": "refresh_token", "refresh_token": signed_in["refresh_token"]}
    await call("POST", TOKEN_ENDPOINT, data=form)
    sessions = await call("GET", "/api/sessions")
    other = next(session for session in sessions["items"] if not session["current"])
    await call("DELETE", "/api/sessions/{session_id}", {"session_id": other["id"]})
    await call("PATCH", "/api/users/me", json={"preferences": {"theme": "dark"}})
    change = {"current_password": PASSWORD, "new_password": password_of("new")}
    await call("PUT", "/api/users/me/password", json=change)
    await call("GET", "/api/users/me/activity")
    await call("GET", "/api/activity")
    invited = await call("POST", "/api/invitations", json=invitation)
    await call("GET", "/api/invitations")
    joining = {"email": "bob@example.test", "password": PASSWORD, "invitation": invited["token"]}
    await call("POST", "/api/auth/register", json=joining)
    unused = await call("POST", "/api/invitations", json=invitation)
    await call("DELETE", "/api/invitations/{invitation_id}", {"invitation_id": unused["id"]})
    made = await call("POST", "/api/users", json={"email": "eve@example.test", "role": "owner"})
    eve = {"user_id": made["id"]}
    await call("GET", "/api/users")
    await call("GET", "/api/users/{user_id}", eve)
    await call("PATCH", "/api/users/{user_id}", eve, json={"full_name": "Eve"})
    await call("GET", "/api/users/{user_id}/sessions", eve)
    await call("DELETE", "/api/users/{user_id}/sessions", eve)
    reset = await call("POST", "/api/users/{user_id}/password-reset", eve)
    await call("POST", "/api/auth/password/reset", json={"token": reset["token"], "new_password": PASSWORD})
    await call("POST", "/api/auth/logout")
    back = await sign_in(mvp, "eve@example.test")
    mvp.headers.update(bearer(back.json()["access_token"]))
    await call("DELETE", "/api/users/{user_id}", {"user_id": founder["user"]["id"]})
    await call("POST", "/api/users", json={"email": "zoe@example.test", "role": "owner", "password": PASSWORD})
    await call("DELETE", "/api/users/me")
    assert call.seen == {operation.name for operation in OPERATIONS if not operation.path.startswith(TRADING)}


async def test_successes_of_trading(mvp: httpx.AsyncClient, clone_url: str, document: dict[str, Any]) -> None:
    call = Calls(mvp, document)
    templates, recommendations = TRADING
    nobodys = add_trading(clone_url, None, "orphan")
    await call("POST", f"{templates}/adopt", json={"ids": [nobodys["template_id"]]})
    await call("POST", f"{recommendations}/adopt", json={"ids": [nobodys["recommendation_id"]]})
    template = await call("POST", templates, json=TEMPLATE | {"order_type": "limit", "limit_price": "1.5"})
    number = {"template_id": template["id"]}
    await call("PATCH", f"{templates}/{{template_id}}", number, json={"description": "x"})
    await call("POST", f"{templates}/{{template_id}}/use", number)
    await call("GET", f"{templates}/{{template_id}}", number)
    await call("GET", templates)
    await call("DELETE", f"{templates}/{{template_id}}", number)
    key = {"Idempotency-Key": "x"}
    advice = await call("POST", recommendations, json=RECOMMENDATION, headers=key)
    assert await call("POST", recommendations, json=RECOMMENDATION, headers=key) == advice
    await call("POST", f"{recommendations}/batch", json=[RECOMMENDATION] * 2)
    number = {"recommendation_id": advice["id"]}
    for move in ({"status": "executed", "execution_price": "1"}, {"status": "closed", "actual_pnl": "-1"}):
        await call("PATCH", f"{recommendations}/{{recommendation_id}}", number, json=move)
    answer = await mvp.patch(f"{recommendations}/{advice['id']}", json=move)
    assert answer.status_code == 409
    check(document, f"{recommendations}/{{recommendation_id}}", answer)
    await call("GET", f"{recommendations}/{{recommendation_id}}", number)
    for query in ("", "?owner=none", "?limit=1"):
        await call("GET", recommendations, params=query)
    await call("GET", f"{recommendations}/accuracy")
    assert call.seen == {operation.name for operation in OPERATIONS if operation.path.startswith(TRADING)}


async def test_refusals(service: Service, document: dict[str, Any]) -> None:
    nothing = add_token(service.url, 1, [])
    twice = [("Authorization", f"Bearer {MVP_TOKEN}")] * 2
    for operation in OPERATIONS:
        if operation.permission is None:
            continue
        url = re.sub(r"{\w+}", "1", operation.path)
        for headers, status in (({}, 401), (bearer("nobody"), 401), (bearer(nothing), 403), (twice, 400)):
            body = BODIES.get(operation.name)
            answer = await service.client.request(operation.method, url, headers=headers, json=body)
            assert answer.status_code == status, operation
            check(document, operation.path, answer)


@pytest.mark.parametrize(
    ("method", "path", "url", "json", "status"),
    [
        ("POST", "/api/tokens", "/api/tokens", {"name": "", "scopes": ["root"], "more": 1}, 422),
        ("POST", "/api/tokens", "/api/tokens", {"name": "x" * 2_000_000}, 413),
        ("GET", "/api/tokens", "/api/tokens?limit=0&cursor=x", None, 422),
        ("DELETE", "/api/tokens/{token_id}", "/api/tokens/abc", None, 422),
        ("DELETE", "/api/tokens/{token_id}", "/api/tokens/2147483647", None, 404),
        ("DELETE", "/api/tokens/{token_id}", "/api/tokens/1", None, 409),
        ("POST", "/api/auth/login", "/api/auth/login", {"username": "nobody", "password": "x"}, 401),
        ("POST", "/api/auth/refresh", "/api/auth/refresh", {"refresh_token": "x"}, 401),
        ("POST", "/api/auth/register", "/api/auth/register", ACCOUNT, 403),
        ("POST", "/api/auth/token", "/api/auth/token", {}, 400),
        ("POST", "/api/auth/password/reset", "/api/auth/password/reset", {"token": "x", "new_password": "x"}, 422),
        (
            "POST",
            "/api/auth/password/reset",
            "/api/auth/password/reset",
            {"token": "x", "new_password": PASSWORD},
            400,
        ),
        ("POST", "/api/users", "/api/users", {"email": "mvp@localhost", "role": "member"}, 409),
        ("DELETE", "/api/users/{user_id}", "/api/users/1", None, 409),
        ("DELETE", "/api/sessions/{session_id}", "/api/sessions/1", None, 404),
        ("GET", "/api/activity", "/api/activity?since=yesterday", None, 422),
        ("GET", "/api/order-templates", "/api/order-templates?symbol=&owner=ann", None, 422),
        ("POST", "/api/order-templates", "/api/order-templates", {"limit_price": "NaN"}, 422),
        ("POST", "/api/order-templates/adopt", "/api/order-templates/adopt", {"ids": [2147483647]}, 404),
        ("GET", "/api/order-templates/{template_id}", "/api/order-templates/1?owner=none", None, 404),
        ("DELETE", "/api/order-templates/{template_id}", "/api/order-templates/1", None, 404),
        ("POST", "/api/order-templates/{template_id}/use", "/api/order-templates/1/use", {"symbol": "X"}, 422),
        ("POST", "/api/order-templates/{template_id}/use", "/api/order-templates/1/use", None, 404),
        ("GET", "/api/recommendations", "/api/recommendations?status=x&type=y&since=z", None, 422),
        ("POST", "/api/recommendations", "/api/recommendations", {"reasoning": "x" * 2_000_000}, 413),
        ("POST", "/api/recommendations/batch", "/api/recommendations/batch", [{}, 1], 422),
        ("POST", "/api/recommendations/batch", "/api/recommendations/batch", ["x" * 2_000_000], 413),
        ("PATCH", "/api/recommendations/{recommendation_id}", "/api/recommendations/1", {"status": "x"}, 422),
        ("PATCH", "/api/recommendations/{recommendation_id}", "/api/recommendations/1", {"status": "dismissed"}, 404),
    ],
)
async def test_what_does_not_fit(
    service: Service, document: dict[str, Any], method: str, path: str, url: str, json: Any, status: int
) -> None:
    answer = await service.client.request(method, url, json=json, headers=bearer())
    assert answer.status_code == status
    check(document, path, answer)


async def test_an_unhealthy_service(mvp: httpx.AsyncClient, clone_url: str, document: dict[str, Any]) -> None:
    execute(clone_url, "DROP TABLE alembic_version")
    for path in ("/api/health/detailed", "/api/health/ready"):
        answer = await mvp.get(path)
        assert answer.status_code == 503
        check(document, path, answer)
