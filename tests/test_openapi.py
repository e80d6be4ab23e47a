"""The OpenAPI document describes every operation, and what the service answers is what it describes."""

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

import httpx
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from app import __version__
from app.api import TAGS
from tests.support.accounts import PASSWORD, password_of, sign_in
from tests.support.identity import Service, add_token, execute
from tests.support.service import MVP_TOKEN, bearer

pytestmark = pytest.mark.anyio

PROBLEM = "application/problem+json"
TOKEN_ENDPOINT = "/api/auth/token"
ANONYMOUS = {
    "/api/health",
    "/api/health/live",
    "/api/health/ready",
    TOKEN_ENDPOINT,
    "/api/auth/login",
    "/api/auth/refresh",
    "/api/auth/register",
    "/api/auth/password/reset",
}


ACCOUNT = {"email": "x@example.test", "password": PASSWORD}
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/api/tokens"): {"name": "x", "scopes": ["read"]},
    ("POST", "/api/auth/claim"): ACCOUNT,
    ("PATCH", "/api/users/me"): {},
    ("PUT", "/api/users/me/password"): {"current_password": PASSWORD, "new_password": PASSWORD},
    ("POST", "/api/users"): ACCOUNT | {"role": "member"},
    ("PATCH", "/api/users/{user_id}"): {},
    ("POST", "/api/invitations"): {"role": "member"},
}


class Operation(NamedTuple):
    method: str
    path: str
    description: dict[str, Any]


@pytest.fixture(scope="module")
async def document(service: Service) -> dict[str, Any]:
    answer = await service.client.get("/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    document: dict[str, Any] = answer.json()
    return document


def operations(document: dict[str, Any]) -> Iterator[Operation]:
    for path, methods in document["paths"].items():
        for method, description in methods.items():
            yield Operation(method.upper(), path, description)


async def test_what_it_is(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    assert (document["info"]["title"], document["info"]["version"]) == ("Trading Backend", __version__)
    schemes = document["components"]["securitySchemes"]
    assert schemes["bearer"].items() >= {"type": "http", "scheme": "bearer"}.items()
    assert schemes["password"]["flows"]["password"]["tokenUrl"] == TOKEN_ENDPOINT


async def test_every_operation_is_described(document: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in TAGS}
    for operation in operations(document):
        description = operation.description
        assert description["summary"], operation
        assert description["description"], operation
        assert len(description["tags"]) == 1, operation
        assert set(description["tags"]) <= tags, operation
        assert ("security" in description) == (operation.path not in ANONYMOUS), operation


async def test_no_two_operations_share_an_id(document: dict[str, Any]) -> None:
    ids = [operation.description["operationId"] for operation in operations(document)]
    assert len(ids) == len(set(ids))


async def test_every_tag_is_used_and_described(document: dict[str, Any]) -> None:
    used = {tag for operation in operations(document) for tag in operation.description["tags"]}
    assert {tag["name"] for tag in document["tags"] if tag["description"]} == used


async def test_refusals_are_described(document: dict[str, Any]) -> None:
    for operation in operations(document):
        expected = set()
        if "security" in operation.description:
            expected |= {"400", "401", "403", "503"}
        if operation.path == TOKEN_ENDPOINT:
            expected |= {"400", "413", "429", "503"}
        elif "requestBody" in operation.description:
            expected |= {"413", "422"}
        if operation.description.get("parameters"):
            expected |= {"422"}
        if "{" in operation.path:
            expected |= {"404"}
        assert expected <= operation.description["responses"].keys(), operation


async def test_refusals_are_problems(document: dict[str, Any]) -> None:
    for operation in operations(document):
        responses = operation.description["responses"]
        for status in responses.keys() - {"200", "201", "204"}:
            of_oauth = operation.path == TOKEN_ENDPOINT and status != "413"
            content = {
                "application/json" if of_oauth else PROBLEM: {
                    "schema": {"$ref": f"#/components/schemas/{'OAuthErrorReply' if of_oauth else 'Problem'}"}
                }
            }
            assert content.items() <= responses[status]["content"].items(), (operation, status)
        for status, header in (("401", "WWW-Authenticate"), ("403", "WWW-Authenticate"), ("503", "Retry-After")):
            assert status not in responses or header in responses[status]["headers"], operation


async def test_nothing_of_the_framework_is_left(document: dict[str, Any]) -> None:
    assert not {"HTTPValidationError", "ValidationError"} & document["components"]["schemas"].keys()


async def test_no_schema_speaks_of_a_hash(document: dict[str, Any]) -> None:
    for schema in document["components"]["schemas"].values():
        assert not {"password_hash", "secret_hash"} & schema.get("properties", {}).keys()


class TestAnswers:
    """Each operation is called, and its answers are held against the document."""

    @staticmethod
    def check(document: dict[str, Any], path: str, answer: httpx.Response) -> None:
        responses = document["paths"][path][answer.request.method.lower()]["responses"]
        response = responses[str(answer.status_code)]
        if "content" not in response:
            assert answer.content == b""
            return
        schema = response["content"][answer.headers["content-type"]]["schema"]
        Draft202012Validator(schema | {"components": closed(document)["components"]}).validate(answer.json())

    async def test_successes(self, mvp: httpx.AsyncClient, document: dict[str, Any]) -> None:
        seen = set()

        async def call(method: str, path: str, ids: Mapping[str, Any] | None = None, **request: Any) -> Any:
            answer = await mvp.request(method, path.format_map(ids or {}), **request)
            assert answer.status_code < 300, answer.text
            self.check(document, path, answer)
            seen.add((method, path))
            return answer.json() if answer.content else None

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
        assert seen == {(operation.method, operation.path) for operation in operations(document)}

    async def test_refusals(self, service: Service, document: dict[str, Any]) -> None:
        nothing = add_token(service.url, 1, [])
        twice = [("Authorization", f"Bearer {MVP_TOKEN}")] * 2
        for operation in operations(document):
            if "security" not in operation.description:
                continue
            url = re.sub(r"{\w+}", "1", operation.path)
            for headers, status in (({}, 401), (bearer("nobody"), 401), (bearer(nothing), 403), (twice, 400)):
                answer = await service.client.request(
                    operation.method, url, headers=headers, json=BODIES.get((operation.method, operation.path))
                )
                assert answer.status_code == status, operation
                self.check(document, operation.path, answer)

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
        ],
    )
    async def test_what_does_not_fit(
        self, service: Service, document: dict[str, Any], method: str, path: str, url: str, json: Any, status: int
    ) -> None:
        answer = await service.client.request(method, url, json=json, headers=bearer())
        assert answer.status_code == status
        self.check(document, path, answer)

    async def test_an_unhealthy_service(self, mvp: httpx.AsyncClient, clone_url: str, document: dict[str, Any]) -> None:
        execute(clone_url, "DROP TABLE alembic_version")
        for path in ("/api/health/detailed", "/api/health/ready"):
            answer = await mvp.get(path)
            assert answer.status_code == 503
            self.check(document, path, answer)


def closed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with schemas that allow no property beyond those they name."""
    document = deepcopy(document)
    for schema in document["components"]["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return document
