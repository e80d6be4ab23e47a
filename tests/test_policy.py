"""Every route declares its policy, and each credential gets exactly what that says."""

import re
from itertools import combinations, product
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from app.features.auth import flows
from app.identity.dependencies import BearerScheme, ReachRequirement
from app.identity.tokens import mint
from tests.features.order_templates.support import GOOD as TEMPLATE
from tests.features.recommendations.support import GOOD as RECOMMENDATION
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
from tests.support.policy import OF_NOBODY, OPERATIONS, POLICY, REACHING, Operation, needed
from tests.support.service import MVP_TOKEN, bearer

Tokens = dict[tuple[str, tuple[str, ...]], str]
"""By the role of their user and their scopes."""

OWN = {"read", "write", "issue"}
ROLES = {"owner": {*OWN, "admin"}, "member": OWN, "beta_tester": OWN}
"""What a role may do, with a credential that is not limited to scopes."""
MVP_TOKEN_ALONE, SESSION_ALONE = {"claim"}, {"logout"}

ONE_BY_ONE = [(), *combinations(SCOPES, 1), SCOPES]
ODD = [
    *combinations(SCOPES, 2),
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
    ("POST", "/api/order-templates"): {"json": TEMPLATE},
    ("POST", "/api/order-templates/adopt"): {"json": {"ids": [2147483647]}},
    ("PATCH", "/api/order-templates/{template_id}"): {"json": {}},
    ("POST", "/api/recommendations"): {"json": RECOMMENDATION},
    ("POST", "/api/recommendations/batch"): {"json": [RECOMMENDATION]},
    ("POST", "/api/recommendations/adopt"): {"json": {"ids": [2147483647]}},
    ("PATCH", "/api/recommendations/{recommendation_id}"): {"json": {"status": "dismissed"}},
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
    ("POST", "/api/order-templates"): 201,
    ("POST", "/api/order-templates/adopt"): 404,
    ("POST", "/api/recommendations"): 201,
    ("POST", "/api/recommendations/batch"): 201,
    ("POST", "/api/recommendations/adopt"): 404,
}
"""What comes of it where the caller may: 404 where the path has an id, which no row has; else 200."""


def declared(app: FastAPI) -> tuple[dict[Operation, str | None], set[Operation]]:
    """The permission in each route's signature, and which of them may be asked for what is nobody's."""
    found: dict[Operation, str | None] = {}
    reaching: set[Operation] = set()
    for route in iter_route_contexts(app.routes):
        dependencies = route.dependant.dependencies if hasattr(route, "dependant") else []
        schemes = [each.call for each in dependencies if isinstance(each.call, BearerScheme)]
        assert len(schemes) <= 1, route.path_format
        for method in (route.methods or {"*"}) - {"HEAD"}:
            assert (method, route.path_format) not in found
            found[method, str(route.path_format)] = schemes[0].permission if schemes else None
            if schemes and isinstance(schemes[0], ReachRequirement):
                reaching.add((method, f"{route.path_format}{OF_NOBODY}"))
    return found, reaching


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
    for permission in needed(operation):
        if permission not in granted:
            return 403, insufficient(permission)
    status = SUCCESS.get(operation, 404 if "{" in operation[1] else 200)
    return status, INVALID if status == 401 else None


def name_of(operation: Operation) -> str:
    return re.sub(r"[^a-z_]", ".", "-".join(operation).lower())


@pytest.fixture(scope="module")
def tokens(service: Service) -> Tokens:
    """None of them is ever used up: what ends a token or its user takes another credential."""
    users = {role: add_user(service.url, f"{role}@example.test", role=role) for role in ROLES}
    return {
        (role, scopes): add_token(service.url, users[role], scopes) for role in ROLES for scopes in (*ONE_BY_ONE, *ODD)
    }


@pytest.fixture(autouse=True)
def refuse_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "REFUSAL_TAKES", 0.001)


@pytest.mark.anyio
async def test_every_route_declares_its_policy(service: Service) -> None:
    assert declared(application(service.client)) == (POLICY, REACHING)


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
@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
class TestEachCredential:
    async def test_none_or_a_bad_one(self, service: Service, operation: Operation) -> None:
        for token, challenge in ((None, CHALLENGE), (mint().plain, INVALID), ("nonsense", INVALID)):
            found = await outcome(service.client, operation, token)
            assert found == ((401, challenge) if needed(operation) else expected(operation, set()))

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
        assert found == ((401, INVALID) if needed(operation) else expected(operation, set()))

    @pytest.mark.parametrize("subsets", [ONE_BY_ONE, pytest.param(ODD, marks=pytest.mark.slow)], ids=["plain", "odd"])
    async def test_api_tokens_in_every_role(
        self, service: Service, tokens: Tokens, operation: Operation, subsets: list[tuple[str, ...]]
    ) -> None:
        for role, scopes in product(ROLES, subsets):
            found = await outcome(service.client, operation, tokens[role, scopes])
            allowed = ROLES[role] & set(scopes) & {"read", "write", "admin"}
            assert found == expected(operation, allowed), (role, scopes)

    async def test_the_credentials_of_an_inactive_user(self, service: Service, operation: Operation) -> None:
        user_id = add_user(service.url, f"inactive.{name_of(operation)}@example.test", role="owner")
        tokens = add_token(service.url, user_id), add_session(service.client, user_id)
        execute(service.url, "UPDATE users SET is_active = false WHERE id = :id", id=user_id)
        for token in tokens:
            found = await outcome(service.client, operation, token)
            assert found == ((401, INVALID) if needed(operation) else expected(operation, set()))
