"""The OpenAPI document describes every operation, and what the service answers is what it describes."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, NamedTuple

import httpx
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from app import __version__
from app.api import TAGS
from tests.support.identity import Service, add_token, execute
from tests.support.service import MVP_TOKEN, bearer

pytestmark = pytest.mark.anyio

PROBLEM = "application/problem+json"
ANONYMOUS = {"/api/health", "/api/health/live", "/api/health/ready"}


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
    assert document["components"]["securitySchemes"]["bearer"].items() >= {"type": "http", "scheme": "bearer"}.items()


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


async def test_refusals_are_problems(document: dict[str, Any]) -> None:
    for operation in operations(document):
        responses = operation.description["responses"]
        expected = set()
        if "security" in operation.description:
            expected |= {"400", "401", "403", "503"}
        if "requestBody" in operation.description:
            expected |= {"413", "422"}
        if operation.description.get("parameters"):
            expected |= {"422"}
        if "{" in operation.path:
            expected |= {"404"}
        assert expected <= responses.keys(), operation
        for status, response in responses.items():
            if int(status) < 400:
                continue
            assert response["content"][PROBLEM]["schema"] == {"$ref": "#/components/schemas/Problem"}, operation
            if status in {"401", "403"}:
                assert "WWW-Authenticate" in response["headers"], operation
            if status == "503":
                assert "Retry-After" in response["headers"], operation


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

    async def test_successes(self, service: Service, document: dict[str, Any]) -> None:
        client, seen = service.client, set()
        created = await client.post("/api/tokens", headers=bearer(), json={"name": "x", "scopes": ["read"]})
        self.check(document, "/api/tokens", created)
        seen.add(("POST", "/api/tokens"))
        for operation in operations(document):
            if operation.method == "POST":
                continue
            url = operation.path.replace("{token_id}", str(created.json()["id"]))
            answer = await client.request(operation.method, url, headers=bearer())
            assert answer.status_code < 300
            self.check(document, operation.path, answer)
            seen.add((operation.method, operation.path))
        assert seen == {(operation.method, operation.path) for operation in operations(document)}

    async def test_refusals(self, service: Service, document: dict[str, Any]) -> None:
        nothing = add_token(service.url, 1, [])
        twice = [("Authorization", f"Bearer {MVP_TOKEN}")] * 2
        for operation in operations(document):
            if "security" not in operation.description:
                continue
            url = operation.path.replace("{token_id}", "1")
            for headers, status in (({}, 401), (bearer("nobody"), 401), (bearer(nothing), 403), (twice, 400)):
                answer = await service.client.request(
                    operation.method, url, headers=headers, json={"name": "x", "scopes": ["read"]}
                )
                assert answer.status_code == status
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
