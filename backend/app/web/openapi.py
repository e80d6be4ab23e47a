"""How refusals appear in the OpenAPI document."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict
from pydantic.json_schema import models_json_schema

PROBLEM_JSON: Final = "application/problem+json"

TOKEN_URL: Final = "/api/auth/token"  # noqa: S105 - an address

_SCHEMAS: Final = "#/components/schemas/"
_FASTAPI_SCHEMAS: Final = ("HTTPValidationError", "ValidationError")
_DESCRIPTIONS: Final = {
    400: "The request is malformed.",
    401: "No credential was presented, or it is not, or no longer, good.",
    403: "The credential is good and does not reach this far.",
    404: "Missing, or somebody else's.",
    409: "The request contradicts the present state.",
    413: "The body is larger than 1 MiB.",
    422: "The request does not fit; `errors` says where.",
    429: "Too many attempts; try again later.",
    503: "The service or its database is not available right now; try again.",
}
_CHALLENGE: Final = {
    "WWW-Authenticate": {"description": "What to present (RFC 6750).", "schema": {"type": "string"}},
}
DELAY: Final = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}}
_HEADERS: Final[dict[int, dict[str, Any]]] = {401: _CHALLENGE, 403: _CHALLENGE, 429: DELAY, 503: DELAY}


class FieldProblem(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)

    pointer: str
    """A JSON pointer (RFC 6901) into the body, or `query/NAME`, `path/NAME`, `header/NAME`."""
    code: str
    """What is wrong, stable, in snake_case."""
    message: str


class Problem(BaseModel):
    """Why a request was refused (RFC 9457)."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str
    """`urn:problem:` and the code."""
    title: str
    status: int
    detail: str
    """What happened, for a person to act on."""
    code: str
    """What happened, for a program to act on: stable, in snake_case."""
    request_id: str | None
    """Names this request in the service's log."""
    errors: list[FieldProblem] = []
    """With 422: where the request does not fit."""


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route, for its `responses=`."""
    return {status: _response(status) for status in statuses}


def _response(status: int) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": _DESCRIPTIONS.get(status) or HTTPStatus(status).phrase,
        "content": {PROBLEM_JSON: {"schema": {"$ref": f"{_SCHEMAS}Problem"}}},
    }
    return response | ({"headers": _HEADERS[status]} if status in _HEADERS else {})


def declare_problems(app: FastAPI) -> None:
    """Put `Problem` into the document of `app`, in the place of FastAPI's own description of a 422."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        if "Problem" not in schemas:
            schemas |= _problem_schemas()
            _offer_password_flow(document)
            for operation in _operations(document):
                responses = operation["responses"]
                if "application/json" in responses.get("422", {}).get("content", {}):
                    responses["422"] = _response(422)
            for name in _FASTAPI_SCHEMAS:
                schemas.pop(name, None)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _problem_schemas() -> dict[str, Any]:
    models: list[tuple[type[BaseModel], Any]] = [(Problem, "serialization")]
    _, definitions = models_json_schema(models, ref_template=f"{_SCHEMAS}{{model}}")
    schemas: dict[str, Any] = definitions["$defs"]
    return schemas


def _offer_password_flow(document: dict[str, Any]) -> None:
    """Let *Authorize* sign in with a password, wherever a bearer token is wanted."""
    schemes = document["components"].get("securitySchemes", {})
    if TOKEN_URL not in document["paths"] or not schemes:
        return
    flow = {"tokenUrl": TOKEN_URL, "refreshUrl": TOKEN_URL, "scopes": {}}
    schemes["password"] = {
        "type": "oauth2",
        "description": "Sign in with an e-mail address or a username, and the password.",
        "flows": {"password": flow},
    }
    for operation in _operations(document):
        if "security" in operation:
            operation["security"] = [*operation["security"], {"password": []}]


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for operations in document["paths"].values():
        yield from (operation for operation in operations.values() if "responses" in operation)
