"""Who may call what: every route's declared policy, and that each credential gets exactly what it says."""

import re
from itertools import chain, combinations
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from app.features.auth import flows
from app.identity.dependencies import BearerRequirement
from app.identity.tokens import mint
from tests.support.identity import (
    CHALLENGE,
    INVALID,
    SCOPES,
    Service,
    add_session,
    add_token,
    add_user,
    application,
    execute,
    insufficient,
    open_session,
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
    ("POST", "/api/auth/token"): ANONYMOUS,
    ("POST", "/api/auth/login"): ANONYMOUS,
    ("POST", "/api/auth/refresh"): ANONYMOUS,
    ("POST", "/api/auth/logout"): "logout",
    ("POST", "/api/auth/register"): ANONYMOUS,
    ("POST", "/api/auth/claim"): "claim",
    ("POST", "/api/auth/password/reset"): ANONYMOUS,
    ("GET", "/api/users/me"): "read",
    ("PATCH", "/api/users/me"): "write",
    ("DELETE", "/api/users/me"): "issue",
    ("PUT", "/api/users/me/password"): "issue",
    ("GET", "/api/users/me/activity"): "read",
    ("GET", "/api/sessions"): "read",
    ("DELETE", "/api/sessions/{session_id}"): "write",
    ("GET", "/api/tokens"): "read",
    ("POST", "/api/tokens"): "issue",
    ("DELETE", "/api/tokens/{token_id}"): "write",
    ("GET", "/api/users"): "admin",
    ("POST", "/api/users"): "admin",
    ("GET", "/api/users/{user_id}"): "admin",
    ("PATCH", "/api/users/{user_id}"): "admin",
    ("DELETE", "/api/users/{user_id}"): "admin",
    ("GET", "/api/users/{user_id}/sessions"): "admin",
    ("DELETE", "/api/users/{user_id}/sessions"): "admin",
    ("POST", "/api/users/{user_id}/password-reset"): "admin",
    ("GET", "/api/invitations"): "admin",
    ("POST", "/api/invitations"): "admin",
    ("DELETE", "/api/invitations/{invitation_id}"): "admin",
    ("GET", "/api/activity"): "admin",
}

OWN = {"read", "write", "issue"}
ROLES = {"owner": {*OWN, "admin"}, "member": OWN, "beta_tester": OWN}
"""What a role may do, with a credential that is not limited to scopes."""
MVP_TOKEN_ALONE, SESSION_ALONE = {"claim"}, {"logout"}

SUBSETS = [
    *chain.from_iterable(combinations(SCOPES, size) for size in range(4)),
    ("issue", "claim", "logout"),
    ("read", "issue", "root", "*"),
    ("READ", "Write", " admin"),
]

WEAK = {"email": "weak@example.test", "password": "short"}
REQUESTS: dict[Operation, dict[str, Any]] = {
    ("POST", "/api/auth/token"): {"data": {"grant_type": "implicit"}},
    ("POST", "/api/auth/login"): {"json": {}},
    ("POST", "/api/auth/refresh"): {"json": {"refresh_token": "nonsense"}},
    ("POST", "/api/auth/register"): {"json": WEAK},
    ("POST", "/api/auth/claim"): {"json": WEAK},
    ("POST", "/api/auth/password/reset"): {"json": {"token": "nonsense", "new_password": "short"}},
    ("PATCH", "/api/users/me"): {"json": {}},
    ("PUT", "/api/users/me/password"): {"json": {"current_password": "x", "new_password": "short"}},
    ("POST", "/api/tokens"): {"json": {"name": "x", "scopes": ["read"]}},
    ("POST", "/api/users"): {"json": WEAK | {"role": "member"}},
    ("PATCH", "/api/users/{user_id}"): {"json": {}},
    ("POST", "/api/invitations"): {"json": {"role": "member"}},
}
SUCCESS = {
    ("POST", "/api/auth/login"): 422,
    ("POST", "/api/auth/token"): 400,
    ("POST", "/api/auth/refresh"): 401,
    ("POST", "/api/auth/logout"): 204,
    ("POST", "/api/auth/register"): 422,
    ("POST", "/api/auth/claim"): 422,
    ("POST", "/api/auth/password/reset"): 422,
    ("DELETE", "/api/users/me"): 204,
    ("PUT", "/api/users/me/password"): 422,
    ("POST", "/api/tokens"): 201,
    ("POST", "/api/users"): 422,
    ("POST", "/api/invitations"): 201,
}
"""What comes of it where the caller may: 404 where the path has an id, which no row has; else 200."""


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
        re.sub(r"{\w+}", "2147483647", path),
        headers=bearer(token) if token else {},
        **REQUESTS.get(operation, {}),
    )
    return answer.status_code, answer.headers.get("www-authenticate")


def expected(operation: Operation, granted: set[str]) -> tuple[int, str | None]:
    needed = POLICY[operation]
    if needed is None or needed in granted:
        status = SUCCESS.get(operation, 404 if "{" in operation[1] else 200)
        return status, INVALID if status == 401 else None
    return 403, insufficient(needed)


def name_of(operation: Operation) -> str:
    return "-".join(operation).translate(str.maketrans("/{}", "...")).lower()


@pytest.fixture(autouse=True)
def refuse_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "REFUSAL_TAKES", 0.001)


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
        operation: [{"bearer": [permission]}, {"password": []}] if permission else None
        for operation, permission in POLICY.items()
        if operation[1].startswith("/api/")
    }


@pytest.mark.anyio
@pytest.mark.parametrize("operation", [each for each in POLICY if each[1].startswith("/api/")], ids=" ".join)
class TestEachCredential:
    async def test_none_or_a_bad_one(self, service: Service, operation: Operation) -> None:
        for token, challenge in ((None, CHALLENGE), (mint().plain, INVALID), ("nonsense", INVALID)):
            found = await outcome(service.client, operation, token)
            assert found == (expected(operation, set()) if POLICY[operation] is None else (401, challenge))

    async def test_the_mvp_token_in_every_role(self, service: Service, operation: Operation) -> None:
        if operation == ("DELETE", "/api/users/me"):
            pytest.skip("would end the MVP user; tests/features/users sees to it")
        try:
            for role, granted in ROLES.items():
                execute(service.url, "UPDATE users SET role = :role WHERE id = 1", role=role)
                found = await outcome(service.client, operation, MVP_TOKEN)
                assert (role, found) == (role, expected(operation, granted | MVP_TOKEN_ALONE))
        finally:
            execute(service.url, "UPDATE users SET role = 'owner' WHERE id = 1")

    async def test_sessions_in_every_role(self, service: Service, operation: Operation) -> None:
        for role, granted in ROLES.items():
            user_id = add_user(service.url, f"{role}.session.{name_of(operation)}@example.test", role=role)
            found = await outcome(service.client, operation, add_session(service.client, user_id))
            assert (role, found) == (role, expected(operation, granted | SESSION_ALONE))

    async def test_refresh_tokens_are_no_credentials(self, service: Service, operation: Operation) -> None:
        user_id = add_user(service.url, f"refresh.{name_of(operation)}@example.test", role="owner")
        found = await outcome(service.client, operation, open_session(service.client, user_id).refresh_token)
        assert found == (expected(operation, set()) if POLICY[operation] is None else (401, INVALID))

    async def test_api_tokens_in_every_role_with_all_scopes(self, service: Service, operation: Operation) -> None:
        for role, granted in ROLES.items():
            user_id = add_user(service.url, f"{role}.{name_of(operation)}@example.test", role=role)
            for scopes in SUBSETS:
                found = await outcome(service.client, operation, add_token(service.url, user_id, scopes))
                allowed = granted & set(scopes) & {"read", "write", "admin"}
                assert (role, scopes, found) == (role, scopes, expected(operation, allowed))

    async def test_the_credentials_of_an_inactive_user(self, service: Service, operation: Operation) -> None:
        user_id = add_user(service.url, f"inactive.{name_of(operation)}@example.test", role="owner")
        tokens = add_token(service.url, user_id), add_session(service.client, user_id)
        execute(service.url, "UPDATE users SET is_active = false WHERE id = :id", id=user_id)
        for token in tokens:
            found = await outcome(service.client, operation, token)
            assert found == (expected(operation, set()) if POLICY[operation] is None else (401, INVALID))
