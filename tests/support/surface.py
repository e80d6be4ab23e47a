"""Every operation of the API, as the OpenAPI document describes it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.main import create_app
from tests.support.service import settings_for

Schema = Mapping[str, Any]

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    permission: str | None
    """None, where no credential is needed."""
    query: Mapping[str, Schema]
    """Each parameter's schema, by its name."""
    headers: Mapping[str, Schema]
    """Likewise; without that of the credential."""
    media_type: str | None
    """Of the body, if it takes one; the first, where it takes several."""
    body: Schema

    @property
    def name(self) -> tuple[str, str]:
        return self.method, self.path

    @property
    def ids(self) -> list[str]:
        """The names of the parameters in the path."""
        return re.findall(r"{(\w+)}", self.path)

    @property
    def takes_a_list(self) -> bool:
        return self.body.get("type") == "array"

    @property
    def objects(self) -> list[Schema]:
        """What the body is one of, or where it is a list each of its items."""
        body = self.body["items"] if self.takes_a_list else self.body
        either: list[Schema] = body.get("oneOf") or body.get("anyOf") or [body]
        return [each for each in either if "properties" in each]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def described(document: Mapping[str, Any]) -> list[Operation]:
    return [
        _operation(document, method, path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]


def _operation(document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]) -> Operation:
    security = [requirement["bearer"] for requirement in operation.get("security", []) if "bearer" in requirement]
    assert [len(permissions) for permissions in security] in ([], [1]), (method, path)
    parameters = [_resolved(document, parameter) for parameter in operation.get("parameters", [])]
    assert {parameter["in"] for parameter in parameters} <= {"path", "query", "header"}, (method, path)
    content = operation.get("requestBody", {}).get("content", {})
    query, headers = (
        {parameter["name"]: parameter["schema"] for parameter in parameters if parameter["in"] == place}
        for place in ("query", "header")
    )
    return Operation(
        method.upper(),
        path,
        security[0][0] if security else None,
        query,
        headers,
        next(iter(content), None),
        next((media["schema"] for media in _resolved(document, content).values()), {}),
    )


def _resolved(document: Mapping[str, Any], value: Any) -> Any:
    """The same with each reference replaced by what it refers to."""
    if isinstance(value, list):
        return [_resolved(document, element) for element in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        return _resolved(document, document["components"]["schemas"][value["$ref"].rpartition("/")[2]])
    return {name: _resolved(document, member) for name, member in value.items()}


OPERATIONS = described(create_app(settings_for("postgresql://nowhere.test/none", Path("none"))).openapi())
"""For parametrizing; that the running service serves the same document is for a test to say."""
