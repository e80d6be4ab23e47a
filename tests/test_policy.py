"""Who may call what: every route's declared policy, and that each credential gets exactly what it says."""

from itertools import chain, combinations
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from app.identity.dependencies import BearerRequirement
from app.identity.tokens import mint
from tests.support.identity import (
    CHALLENGE,
    INVALID,
    SCOPES,
    Service,
    add_token,
    add_user,
    execute,
    insufficient,
)
from tests.support.service import MVP_TOKEN, bearer

Operation = tuple[str, str]

ANONYMOUS = None
POLICY: dict[Operation, str | None] = {
    ("GET", "/openapi.json"): ANONYMOUS,
    ("GET", "/docs"): ANONYMOUS,
    ("*", "/docs/assets/{path}"): ANONYMOUS,
    ("GET", "/api/health"): ANONYMOUS,
    ("GET", "/api/health/live"): ANONYMOUS,
    ("GET", "/api/health/ready"): ANONYMOUS,
    ("GET", "/api/health/detailed"): "read",
    ("GET", "/api/users/me"): "read",
    ("GET", "/api/tokens"): "read",
    ("POST", "/api/tokens"): "issue",
    ("DELETE", "/api/tokens/{token_id}"): "write",
}

ROLES = {
    "owner": {"read", "write", "issue", "admin"},
    "member": {"read", "write", "issue"},
    "beta_tester": {"read", "write", "issue"},
}
"""What a credential that is not limited to scopes may do."""

SUBSETS = [
    *chain.from_iterable(combinations(SCOPES, size) for size in range(4)),
    ("issue",),
    ("read", "issue", "root", "*"),
    ("READ", "Write", " admin"),
]
REQUESTS: dict[Operation, dict[str, Any]] = {("POST", "/api/tokens"): {"json": {"name": "x", "scopes": ["read"]}}}
SUCCESS = {("POST", "/api/tokens"): 201, ("DELETE", "/api/tokens/{token_id}"): 404}
"""Where it is not 200; no row has the id that stands in every path here."""


def application(client: httpx.AsyncClient) -> FastAPI:
    transport = client._transport  # noqa: SLF001
    assert isinstance(transport, httpx.ASGITransport)
    assert isinstance(transport.app, FastAPI)
    return transport.app


def declared(app: FastAPI) -> dict[Operation, str | None]:
    """The permission in each route's signature."""
    found: dict[Operation, str | None] = {}
    for route in iter_route_contexts(app.routes):
        dependencies = route.dependant.dependencies if hasattr(route, "dependant") else []
        permissions = [each.call.permission for each in dependencies if isinstance(each.call, BearerRequirement)]
        assert len(permissions) <= 1, route.path_format
        for method in (route.methods or {"*"}) - {"HEAD"}:
            assert (method, route.path_format) not in found
            found[method, str(route.path_format)] = permissions[0] if permissions else None
    return found


async def outcome(client: httpx.AsyncClient, operation: Operation, token: str | None) -> tuple[int, str | None]:
    method, path = operation
    answer = await client.request(
        method,
        path.replace("{token_id}", "2147483647"),
        headers=bearer(token) if token else {},
        **REQUESTS.get(operation, {}),
    )
    return answer.status_code, answer.headers.get("www-authenticate")


def expected(operation: Operation, granted: set[str]) -> tuple[int, str | None]:
    needed = POLICY[operation]
    if needed is None or needed in granted:
        return SUCCESS.get(operation, 200), None
    return 403, insufficient(needed)


@pytest.mark.anyio
async def test_every_route_declares_its_policy(service: Service) -> None:
    assert declared(application(service.client)) == POLICY


@pytest.mark.anyio
async def test_the_document_says_the_same(service: Service) -> None:
    document = (await service.client.get("/openapi.json")).json()
    said = {
        (method.upper(), path): operation.get("security")
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert said == {
        operation: [{"bearer": [permission]}] if permission else None
        for operation, permission in POLICY.items()
        if operation[1].startswith("/api/")
    }


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [each for each in POLICY if each[1].startswith("/api/")], ids=" ".join)
class TestEachCredential:
    async def test_none_or_a_bad_one(self, service: Service, operation: Operation) -> None:
        anonymous = POLICY[operation] is None
        for token, challenge in ((None, CHALLENGE), (mint().plain, INVALID), ("nonsense", INVALID)):
            found = await outcome(service.client, operation, token)
            assert found == ((SUCCESS.get(operation, 200), None) if anonymous else (401, challenge))

    async def test_the_mvp_token_in_every_role(self, service: Service, operation: Operation) -> None:
        try:
            for role, granted in ROLES.items():
                execute(service.url, "UPDATE users SET role = :role WHERE id = 1", role=role)
                found = await outcome(service.client, operation, MVP_TOKEN)
                assert (role, found) == (role, expected(operation, granted))
        finally:
            execute(service.url, "UPDATE users SET role = 'owner' WHERE id = 1")

    async def test_api_tokens_in_every_role_with_all_scopes(self, service: Service, operation: Operation) -> None:
        name = "-".join(operation).replace("/", ".")
        for role, granted in ROLES.items():
            user_id = add_user(service.url, f"{role}.{name}@example.test", role=role)
            for scopes in SUBSETS:
                found = await outcome(service.client, operation, add_token(service.url, user_id, scopes))
                allowed = granted & set(scopes) & {"read", "write", "admin"}
                assert (role, scopes, found) == (role, scopes, expected(operation, allowed))

    async def test_the_credentials_of_an_inactive_user(self, service: Service, operation: Operation) -> None:
        user_id = add_user(service.url, f"{'-'.join(operation)}@inactive.test", role="owner", is_active=False)
        found = await outcome(service.client, operation, add_token(service.url, user_id))
        assert found == (expected(operation, set()) if POLICY[operation] is None else (401, INVALID))
