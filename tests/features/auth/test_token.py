"""The token endpoint as OAuth 2.0 clients use it (RFC 6749): its grants, its form, its errors."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from app.features.auth.oauth import OAuthError, oauth_error
from tests.support.accounts import PASSWORD, add_account, hash_of, refusal, sign_in
from tests.support.identity import execute, open_session
from tests.support.service import bearer, logged

pytestmark = pytest.mark.anyio

TOKEN = "/api/auth/token"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PASSWORD_GRANT = {"grant_type": "password", "username": "ann", "password": PASSWORD}
PRINTABLE = set(map(chr, range(0x20, 0x7F))) - set('"\\')


@pytest.fixture(scope="module")
def ann(service: tuple[str, object]) -> int:
    return add_account(service[0], "ann@example.test", username="ann")


@pytest.fixture
def refresh_token(client: httpx.AsyncClient, ann: int) -> str:
    return open_session(client, ann).refresh_token


def granted(answer: httpx.Response) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), answer.text
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    body: dict[str, Any] = answer.json()
    assert list(body) == ["access_token", "token_type", "expires_in", "refresh_token", "scope"]
    return body


def refused(answer: httpx.Response, status: int = 400) -> str:
    """The error's code."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json"), answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert "www-authenticate" not in answer.headers
    body = answer.json()
    assert list(body) == ["error", "error_description"]
    assert body["error_description"]
    assert set(body["error_description"]) <= PRINTABLE
    return str(body["error"])


async def post(client: httpx.AsyncClient, form: str | bytes, **headers: str) -> httpx.Response:
    return await client.post(TOKEN, content=form, headers=FORM | headers)


class TestGrants:
    @pytest.mark.parametrize("name", ["ann", "ann@example.test", "ANN"])
    async def test_a_password(self, client: httpx.AsyncClient, ann: int, name: str) -> None:
        body = granted(await client.post(TOKEN, data=PASSWORD_GRANT | {"username": name}))
        assert (body["token_type"], body["expires_in"], body["scope"]) == ("bearer", 900, "read write")
        me = await client.get("/api/users/me", headers=bearer(body["access_token"]))
        assert me.json()["id"] == ann

    async def test_a_refresh_token(self, client: httpx.AsyncClient, refresh_token: str) -> None:
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        first, again = granted(await client.post(TOKEN, data=form)), granted(await client.post(TOKEN, data=form))
        assert first["refresh_token"] == again["refresh_token"] != refresh_token
        assert (await client.get("/api/users/me", headers=bearer(first["access_token"]))).status_code == 200

    @pytest.mark.parametrize("password", ["pässwörd &=+%;", "a b+c", "naïve 🐎 \\ \" '", " leading and trailing "])
    async def test_any_character(self, client: httpx.AsyncClient, url: str, password: str) -> None:
        execute(url, "DELETE FROM users WHERE username = 'bob'")
        add_account(url, "bob@example.test", username="bob", password_hash=hash_of(password))
        granted(await client.post(TOKEN, data=PASSWORD_GRANT | {"username": "bob", "password": password}))


class TestClients:
    """Send more than is needed, each its own way."""

    @pytest.mark.parametrize(
        "more",
        [
            {"client_id": "web", "client_secret": "s3cr3t"},
            {"client_id": "", "scope": "read write", "audience": "x"},
            {"scope": ""},
            {"refresh_token": "of no use here"},
            {"x" * 200: "y" * 2000},
        ],
    )
    async def test_further_parameters_are_ignored(
        self, client: httpx.AsyncClient, ann: int, more: dict[str, str]
    ) -> None:
        granted(await client.post(TOKEN, data=PASSWORD_GRANT | more))

    async def test_so_are_client_credentials_in_a_header(self, client: httpx.AsyncClient, ann: int) -> None:
        basic = base64.b64encode(b"web:s3cr3t").decode()
        for authorization in (f"Basic {basic}", "Bearer garbage", "nonsense"):
            granted(await client.post(TOKEN, data=PASSWORD_GRANT, headers={"Authorization": authorization}))

    @pytest.mark.parametrize(
        "content_type",
        [
            "application/x-www-form-urlencoded; charset=UTF-8",
            "Application/X-WWW-Form-URLencoded",
            "application/x-www-form-urlencoded ;charset=utf-8",
        ],
    )
    async def test_spellings_of_the_content_type(self, client: httpx.AsyncClient, ann: int, content_type: str) -> None:
        granted(await client.post(TOKEN, content=urlencode(PASSWORD_GRANT), headers={"Content-Type": content_type}))

    async def test_a_query_string_is_no_place_for_it(self, client: httpx.AsyncClient, ann: int) -> None:
        assert refused(await client.post(TOKEN, params=PASSWORD_GRANT, headers=FORM)) == "invalid_request"


class TestRefusals:
    @pytest.mark.parametrize(
        ("form", "error"),
        [
            (PASSWORD_GRANT | {"password": "wrong"}, "invalid_grant"),
            (PASSWORD_GRANT | {"username": "nobody"}, "invalid_grant"),
            ({"grant_type": "refresh_token", "refresh_token": "garbage"}, "invalid_grant"),
            ({"grant_type": "refresh_token", "refresh_token": "é€"}, "invalid_grant"),
            ({"grant_type": "refresh_token", "refresh_token": "x" * 500_000}, "invalid_grant"),
            (PASSWORD_GRANT | {"grant_type": "client_credentials"}, "unsupported_grant_type"),
            (PASSWORD_GRANT | {"grant_type": "PASSWORD"}, "unsupported_grant_type"),
            (PASSWORD_GRANT | {"grant_type": "pass\0word"}, "unsupported_grant_type"),
            ({"grant_type": "authorization_code", "code": "x"}, "unsupported_grant_type"),
            ({}, "invalid_request"),
            ({"grant_type": "", "username": "ann", "password": PASSWORD}, "invalid_request"),
            ({"username": "ann", "password": PASSWORD}, "invalid_request"),
            ({"grant_type": "password"}, "invalid_request"),
            (PASSWORD_GRANT | {"username": ""}, "invalid_request"),
            (PASSWORD_GRANT | {"password": ""}, "invalid_request"),
            (PASSWORD_GRANT | {"username": "a" * 256}, "invalid_request"),
            (PASSWORD_GRANT | {"password": "a" * 1025}, "invalid_request"),
            (PASSWORD_GRANT | {"username": "an\0n"}, "invalid_request"),
            ({"grant_type": "refresh_token"}, "invalid_request"),
            ({"grant_type": "refresh_token", "refresh_token": ""}, "invalid_request"),
            (PASSWORD_GRANT | {f"p{number}": "x" for number in range(50)}, "invalid_request"),
        ],
    )
    async def test_each_has_its_code(
        self, client: httpx.AsyncClient, ann: int, form: dict[str, str], error: str
    ) -> None:
        assert refused(await post(client, urlencode(form))) == error

    @pytest.mark.parametrize(
        "form",
        [
            urlencode(PASSWORD_GRANT) + "&password=another",
            urlencode(PASSWORD_GRANT) + "&grant_type=password",
            urlencode(PASSWORD_GRANT) + "&client_id=a&client_id=a",
            b"grant_type=password&username=ann&password=\xff",
            "grant_type=password&username=ann&password=%FF",
            "grant_type=password&username=ann&password=%ED%A0%80",
            "grant_type=password&username=%00ann&password=x",
        ],
    )
    async def test_forms_that_are_none(self, client: httpx.AsyncClient, ann: int, form: str | bytes) -> None:
        assert refused(await post(client, form)) == "invalid_request"

    async def test_a_parameter_without_a_value_is_as_good_as_none(self, client: httpx.AsyncClient, ann: int) -> None:
        granted(await post(client, urlencode(PASSWORD_GRANT) + "&password=&scope&"))
        assert refused(await post(client, "grant_type=password&username=ann&password")) == "invalid_request"

    @pytest.mark.parametrize(
        "content_type", ["application/json", "text/plain", "multipart/form-data; boundary=x", "", "application/x-www"]
    )
    async def test_no_form(self, client: httpx.AsyncClient, ann: int, content_type: str) -> None:
        answer = await client.post(TOKEN, content=urlencode(PASSWORD_GRANT), headers={"Content-Type": content_type})
        assert refused(answer) == "invalid_request"
        assert "application/x-www-form-urlencoded" in answer.json()["error_description"]

    async def test_without_a_content_type(self, client: httpx.AsyncClient, ann: int) -> None:
        assert refused(await client.post(TOKEN, content=urlencode(PASSWORD_GRANT))) == "invalid_request"

    async def test_what_was_sent_is_not_repeated(
        self, client: httpx.AsyncClient, ann: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        secret = "sesame-open-4711-marker"
        for form in (
            PASSWORD_GRANT | {"password": secret},
            PASSWORD_GRANT | {"password": f"{secret}\0"},
            PASSWORD_GRANT | {"password": secret * 50},
            PASSWORD_GRANT | {"grant_type": secret},
            {"grant_type": "refresh_token", "refresh_token": secret},
        ):
            answer = await post(client, urlencode(form))
            assert answer.status_code == 400
            assert secret not in answer.text
        assert secret not in logged(caplog)

    async def test_all_that_is_wrong_with_a_sign_in_looks_the_same(
        self, client: httpx.AsyncClient, url: str, ann: int
    ) -> None:
        execute(url, "DELETE FROM users WHERE email = 'gone@example.test'")
        add_account(url, "gone@example.test", is_active=False)
        answers = [
            await client.post(TOKEN, data=PASSWORD_GRANT | {"username": name, "password": password})
            for name, password in (("ann", "x"), ("nobody", "x"), ("mvp", "x"), ("gone@example.test", PASSWORD))
        ]
        assert len({answer.content for answer in answers}) == 1
        assert refused(answers[0]) == "invalid_grant"

    async def test_errors_of_the_service_have_their_status(self, client: httpx.AsyncClient, ann: int) -> None:
        for _ in range(5):
            await sign_in(client, "ann", "wrong")
        answer = await client.post(TOKEN, data=PASSWORD_GRANT)
        assert refused(answer, 429) == "slow_down"
        assert int(answer.headers["retry-after"]) > 0


def test_a_description_holds_what_rfc_6749_allows() -> None:
    answer = oauth_error(OAuthError("invalid_request", 'say "é" or \\ \n'))
    assert json.loads(bytes(answer.body))["error_description"] == "say ??? or ? ?"


class TestSize:
    """What never reaches the endpoint is refused as it is everywhere."""

    async def test_a_huge_form(self, client: httpx.AsyncClient) -> None:
        answer = await post(client, urlencode(PASSWORD_GRANT | {"more": "x" * 2**20}))
        assert refusal(answer) == (413, "payload_too_large")

    async def test_a_huge_form_of_unknown_length(self, client: httpx.AsyncClient) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield b"x" * 2**16

        answer = await client.post(TOKEN, content=chunks(), headers=FORM)
        assert refusal(answer) == (413, "payload_too_large")

    async def test_a_large_one(self, client: httpx.AsyncClient, ann: int) -> None:
        granted(await post(client, urlencode(PASSWORD_GRANT | {"more": "x" * (2**20 - 1000)})))

    async def test_other_methods(self, client: httpx.AsyncClient) -> None:
        answer = await client.get(TOKEN, params=PASSWORD_GRANT)
        assert refusal(answer) == (405, "method_not_allowed")
