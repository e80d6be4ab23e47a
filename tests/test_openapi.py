"""The OpenAPI document describes every operation."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from app import __version__
from app.api import TAGS
from tests.support.identity import Service

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
