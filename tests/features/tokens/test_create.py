"""Creating an API token: shown once, kept as a hash, never more than its creator."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.support.identity import SCOPES, Service, add_token, add_user, execute, insufficient, note_uses
from tests.support.service import bearer, logged

pytestmark = pytest.mark.anyio

TOKENS = "/api/tokens"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
GOOD = {"name": "backup script", "scopes": ["read"]}


async def create(client: httpx.AsyncClient, body: Any) -> httpx.Response:
    """`body` as JSON, surrogates and all."""
    headers = bearer() | {"Content-Type": "application/json"}
    return await client.post(TOKENS, content=json.dumps(body), headers=headers)


def rows(url: str) -> int:
    (row,) = execute(url, "SELECT count(*) AS number FROM api_tokens")
    number: int = row["number"]
    return number


async def test_the_answer(service: Service) -> None:
    answer = await create(service.client, GOOD | {"scopes": ["write", "read"]})
    token = answer.json()
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["location"] == f"/api/tokens/{token['id']}"
    assert re.fullmatch(r"tb_[0-9A-Za-z]{49}", token["token"])
    assert TIME.fullmatch(token["created_at"])
    assert token == {
        "id": token["id"],
        "name": "backup script",
        "prefix": token["token"][:12],
        "scopes": ["read", "write"],
        "created_at": token["created_at"],
        "expires_at": None,
        "last_used_at": None,
        "from_configuration": False,
        "token": token["token"],
    }
    listed = await service.client.get(TOKENS, headers=bearer(token["token"]))
    assert listed.status_code == 200
    newest = listed.json()["items"][0]
    assert newest | {"token": token["token"]} == token
    note_uses(service.client)
    newest = (await service.client.get(TOKENS, headers=bearer())).json()["items"][0]
    assert TIME.fullmatch(newest["last_used_at"])
    assert newest | {"last_used_at": None, "token": token["token"]} == token


async def test_the_token_is_kept_nowhere(
    service: Service, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    token = (await create(service.client, GOOD)).json()["token"]
    await service.client.get(TOKENS, headers=bearer(token))
    await service.client.post(TOKENS, headers=bearer(token), json=GOOD)
    tables = execute(service.url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    stored = "".join(
        row["stored"]
        for table in tables
        for row in execute(service.url, f"SELECT each::text AS stored FROM {table['tablename']} AS each")
    )
    secret = token[12:]
    assert token[:12] in stored
    assert secret not in stored
    assert secret.encode().hex() not in stored
    log, printed = logged(caplog), capfd.readouterr()
    assert secret not in log + printed.out + printed.err


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("x", "x"),
        ("x" * 100, "x" * 100),
        ("  spaces around\t", "spaces around"),
        ("Gerät für Übergaben", "Gerät für Übergaben"),
        ("🗝️ 密钥", "🗝️ 密钥"),
        ("🗝" * 100, "🗝" * 100),
        ("'; DROP TABLE api_tokens; --", "'; DROP TABLE api_tokens; --"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
    ],
)
async def test_names(service: Service, name: str, kept: str) -> None:
    answer = await create(service.client, GOOD | {"name": name})
    assert (answer.status_code, answer.json()["name"]) == (201, kept)
    listed = await service.client.get(TOKENS, headers=bearer())
    assert listed.json()["items"][0]["name"] == kept


async def test_the_same_name_twice(service: Service) -> None:
    first, second = [(await create(service.client, GOOD)).json() for _ in range(2)]
    assert first["id"] != second["id"]
    assert first["token"] != second["token"]


@pytest.mark.parametrize(
    ("scopes", "kept"),
    [
        (["admin", "write", "read"], ["admin", "read", "write"]),
        (["read", "read"], ["read"]),
        (["write"], ["write"]),
    ],
)
async def test_scopes(service: Service, scopes: list[str], kept: list[str]) -> None:
    answer = await create(service.client, GOOD | {"scopes": scopes})
    assert (answer.status_code, answer.json()["scopes"]) == (201, kept)


@pytest.mark.parametrize(
    ("expires_at", "kept"),
    [
        (None, None),
        ("2050-01-31T12:00:00Z", "2050-01-31T12:00:00Z"),
        ("2050-01-31T12:00:00+02:00", "2050-01-31T10:00:00Z"),
        ("2050-01-31 12:00:00.123456-05:30", "2050-01-31T17:30:00.123456Z"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
    ],
)
async def test_expiry(service: Service, expires_at: str | None, kept: str | None) -> None:
    answer = await create(service.client, GOOD | {"expires_at": expires_at})
    assert (answer.status_code, answer.json()["expires_at"]) == (201, kept)


async def test_a_token_lives_until_it_expires(service: Service) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    created = (await create(service.client, GOOD | {"expires_at": soon})).json()
    me = await service.client.get("/api/users/me", headers=bearer(created["token"]))
    assert me.status_code == 200
    execute(
        service.url,
        "UPDATE api_tokens SET expires_at = timezone('utc', now()) - interval '1 second' WHERE id = :id",
        id=created["id"],
    )
    me = await service.client.get("/api/users/me", headers=bearer(created["token"]))
    assert me.status_code == 401
    listed = await service.client.get(TOKENS, headers=bearer())
    assert created["id"] not in [token["id"] for token in listed.json()["items"]]


INVALID_BODIES = [
    ({"scopes": ["read"]}, "/name", "missing"),
    (GOOD | {"name": ""}, "/name", "string_too_short"),
    (GOOD | {"name": " \t\n"}, "/name", "string_too_short"),
    (GOOD | {"name": "x" * 101}, "/name", "string_too_long"),
    (GOOD | {"name": "a\0b"}, "/name", "nul_character"),
    (GOOD | {"name": "a\ud800b"}, "/name", "unpaired_surrogate"),
    (GOOD | {"name": None}, "/name", "string_type"),
    (GOOD | {"name": 7}, "/name", "string_type"),
    (GOOD | {"name": ["x"]}, "/name", "string_type"),
    ({"name": "x"}, "/scopes", "missing"),
    (GOOD | {"scopes": []}, "/scopes", "too_short"),
    (GOOD | {"scopes": ["read"] * 4}, "/scopes", "too_long"),
    (GOOD | {"scopes": "read"}, "/scopes", "list_type"),
    (GOOD | {"scopes": {"read": True}}, "/scopes", "list_type"),
    (GOOD | {"scopes": None}, "/scopes", "list_type"),
    (GOOD | {"scopes": ["root"]}, "/scopes/0", "literal_error"),
    (GOOD | {"scopes": ["read", "issue"]}, "/scopes/1", "literal_error"),
    (GOOD | {"scopes": ["READ"]}, "/scopes/0", "literal_error"),
    (GOOD | {"scopes": [None]}, "/scopes/0", "literal_error"),
    (GOOD | {"scopes": [["read"]]}, "/scopes/0", "literal_error"),
    (GOOD | {"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at", "in_the_past"),
    (GOOD | {"expires_at": "0001-01-01T00:00:00Z"}, "/expires_at", "in_the_past"),
    (GOOD | {"expires_at": "2050-01-01T00:00:00"}, "/expires_at", "timezone_aware"),
    (GOOD | {"expires_at": "2050-01-01"}, "/expires_at", "datetime_parsing"),
    (GOOD | {"expires_at": "2050-02-30T00:00:00Z"}, "/expires_at", "datetime_from_date_parsing"),
    (GOOD | {"expires_at": "tomorrow"}, "/expires_at", "datetime_parsing"),
    (GOOD | {"expires_at": ""}, "/expires_at", "datetime_parsing"),
    (GOOD | {"expires_at": 2524608000}, "/expires_at", "datetime_parsing"),
    (GOOD | {"expires_at": "2524608000"}, "/expires_at", "datetime_parsing"),
    (GOOD | {"expires_at": 1e300}, "/expires_at", "datetime_parsing"),
    (GOOD | {"expires_at": True}, "/expires_at", "datetime_parsing"),
    (GOOD | {"expires_at": "9999-12-31T23:59:59-01:00"}, "/expires_at", "datetime_out_of_range"),
    (GOOD | {"expires_at": "0001-01-01T00:00:00+01:00"}, "/expires_at", "datetime_out_of_range"),
    (GOOD | {"expires_at": "2050-01-01T00:00:00Z\0"}, "/expires_at", "nul_character"),
    (GOOD | {"user_id": 1}, "/user_id", "extra_forbidden"),
    (GOOD | {"from_configuration": True}, "/from_configuration", "extra_forbidden"),
    (GOOD | {"token": "tb_mine"}, "/token", "extra_forbidden"),
    ([], "", "model_attributes_type"),
    ("x", "", "model_attributes_type"),
    (None, "", "model_attributes_type"),
]


@pytest.mark.parametrize(("body", "pointer", "code"), INVALID_BODIES)
async def test_what_does_not_fit_is_named(service: Service, body: Any, pointer: str, code: str) -> None:
    before = rows(service.url)
    answer = await create(service.client, body)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "validation_failed")
    assert answer.headers["content-type"] == "application/problem+json"
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [(pointer, code)]
    assert rows(service.url) == before


async def test_everything_wrong_is_said_at_once(service: Service) -> None:
    answer = await create(service.client, {"scopes": ["root"], "expires_at": "soon", "more": 1})
    assert {error["pointer"] for error in answer.json()["errors"]} == {"/name", "/scopes/0", "/expires_at", "/more"}


async def test_a_huge_body(service: Service) -> None:
    answer = await create(service.client, GOOD | {"name": "x" * 2_000_000})
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
    answer = await create(service.client, GOOD | {"name": "x" * 1_000_000})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "string_too_long")
    assert len(answer.content) < 1000


class TestWhoMay:
    @pytest.mark.parametrize("role", ["owner", "member", "beta_tester"])
    async def test_no_api_token_can(self, service: Service, role: str) -> None:
        user_id = add_user(service.url, f"{role}@example.test", role=role)
        token = add_token(service.url, user_id, [*SCOPES, "issue"])
        before = rows(service.url)
        answer = await service.client.post(TOKENS, headers=bearer(token), json=GOOD)
        assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
        assert answer.headers["www-authenticate"] == insufficient("issue")
        assert rows(service.url) == before

    @pytest.mark.parametrize("role", ["member", "beta_tester"])
    async def test_nobody_gives_more_than_they_have(
        self, anonymous: httpx.AsyncClient, clone_url: str, role: str
    ) -> None:
        execute(clone_url, "UPDATE users SET role = :role", role=role)
        for scopes in (["admin"], ["read", "admin"]):
            answer = await create(anonymous, GOOD | {"scopes": scopes})
            assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
            assert answer.headers["www-authenticate"] == insufficient("admin")
        assert rows(clone_url) == 1
        assert (await create(anonymous, GOOD | {"scopes": ["read", "write"]})).status_code == 201
