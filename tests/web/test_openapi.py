"""The document says how requests are refused."""

from typing import Any

import pytest
from fastapi import FastAPI

from app.web.openapi import problem_responses


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    @app.get("/plain")
    async def plain() -> None: ...

    @app.get("/numbers/{number}", responses=problem_responses(401, 404, 409, 503))
    async def numbers(number: int) -> None: ...

    @app.post("/declared", responses=problem_responses(422))
    async def declared(body: dict[str, int]) -> None: ...

    app.openapi()
    return app.openapi()


def test_every_422_is_a_problem(document: dict[str, Any]) -> None:
    for path, method in (("/numbers/{number}", "get"), ("/declared", "post")):
        refusal = document["paths"][path][method]["responses"]["422"]
        assert refusal["content"] == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    assert "422" not in document["paths"]["/plain"]["get"]["responses"]
    assert "ValidationError" not in str(document)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert set(schemas) == {"Problem", "FieldProblem"}
    assert schemas["Problem"]["properties"]["errors"]["items"] == {"$ref": "#/components/schemas/FieldProblem"}


def test_refusals_are_described_with_their_headers(document: dict[str, Any]) -> None:
    responses = document["paths"]["/numbers/{number}"]["get"]["responses"]
    assert set(responses) == {"200", "401", "404", "409", "422", "503"}
    assert all(response["description"] for response in responses.values())
    assert set(responses["401"]["headers"]) == {"WWW-Authenticate"}
    assert set(responses["503"]["headers"]) == {"Retry-After"}
    assert "headers" not in responses["404"]
