"""What does not sign in learns nothing, whatever the reason; what does not fit is named and never repeated."""

import json
from typing import Any

import httpx
import pytest

from tests.support.accounts import PASSWORD, add_account, faults, hash_of, refusal, sign_in, trail, user_row
from tests.support.identity import CHALLENGE, add_user, execute, without_request_id
from tests.support.service import bearer, logged

pytestmark = pytest.mark.anyio

LOGIN = "/api/auth/login"
SECRET = "sesame-open-4711-marker"

HASHES = {
    "nothing": None,
    "empty": "",
    "blank": " ",
    "garbage": "garbage",
    "the password itself": PASSWORD,
    "a digest": "5f4dcc3b5aa765d61d8327deb882cf99",
    "bcrypt, cut": "$2b$12$abcdefghijklmnopqrstuv",
    "argon2, cut": "$argon2id$v=19$m=65536,t=3,p=1$c29tZXNhbHQ",
    "argon2 of a gigabyte": "$argon2id$v=19$m=999999,t=3,p=1$c29tZXNhbHRzb21lc2FsdA$" + "A" * 43,
}


@pytest.fixture(scope="module")
def ann(service: tuple[str, object]) -> int:
    return add_account(service[0], "ann@example.test", username="ann")


async def refused(client: httpx.AsyncClient, name: str, password: str = PASSWORD) -> Any:
    """All that the client sees."""
    answer = await sign_in(client, name, password)
    assert refusal(answer) == (401, "invalid_credentials")
    assert answer.headers["www-authenticate"] == CHALLENGE
    return without_request_id(answer)


class TestTheSameAnswer:
    async def test_for_a_wrong_password(self, client: httpx.AsyncClient, url: str, ann: int) -> None:
        before = user_row(url, ann), execute(url, "SELECT * FROM user_sessions")
        unknown = await refused(client, "nobody@example.test")
        for name in ("ann", "ann@example.test", "ANN"):
            for wrong in ("x", PASSWORD.upper(), PASSWORD + " ", PASSWORD[:-1], "x" * 1000):
                assert await refused(client, name, wrong) == unknown
            execute(url, "DELETE FROM throttled_keys")
        assert (user_row(url, ann), execute(url, "SELECT * FROM user_sessions")) == before

    async def test_for_a_user_who_is_deactivated(self, client: httpx.AsyncClient, url: str) -> None:
        gone = add_account(url, "gone@example.test", is_active=False)
        before = user_row(url, gone)
        assert await refused(client, "gone@example.test") == await refused(client, "nobody@example.test")
        assert user_row(url, gone) == before

    @pytest.mark.parametrize("kind", HASHES)
    async def test_for_a_hash_that_nothing_matches(self, client: httpx.AsyncClient, url: str, kind: str) -> None:
        email = f"{kind.replace(' ', '-').replace(',', '')}@example.test"
        user = add_user(url, email)
        execute(url, "UPDATE users SET password_hash = :hash WHERE id = :id", hash=HASHES[kind], id=user)
        unknown = await refused(client, "nobody@example.test")
        for password in (PASSWORD, HASHES[kind] or "x"):
            assert await refused(client, email, password) == unknown
        assert user_row(url, user)["password_hash"] == HASHES[kind]

    async def test_the_mvp_user_has_no_password(self, client: httpx.AsyncClient) -> None:
        unknown = await refused(client, "nobody@example.test")
        for name in ("mvp", "mvp@localhost"):
            assert await refused(client, name) == unknown

    async def test_the_log_knows_the_reason(self, client: httpx.AsyncClient, url: str, ann: int) -> None:
        add_account(url, "left@example.test", is_active=False)
        for name, password, reason in [
            ("nobody", "x", "unknown_user"),
            ("ann", "x", "wrong_password"),
            ("mvp", "x", "no_password"),
            ("left@example.test", PASSWORD, "inactive"),
        ]:
            (row,) = trail(url, await sign_in(client, name, password))
            assert (row["action_type"], row["details"]) == ("sign_in_failed", {"reason": reason})
            assert (row["user_id"] is None, row["actor_id"]) == (name == "nobody", None)


BAD: list[tuple[Any, list[tuple[str, str]]]] = [
    ({}, [("/username", "missing"), ("/password", "missing")]),
    ({"username": SECRET}, [("/password", "missing")]),
    ({"password": SECRET}, [("/username", "missing")]),
    ({"username": "", "password": SECRET}, [("/username", "string_too_short")]),
    ({"username": "ann", "password": ""}, [("/password", "password_length")]),
    ({"username": "a" * 256, "password": SECRET}, [("/username", "string_too_long")]),
    ({"username": "ann", "password": SECRET * 50}, [("/password", "password_length")]),
    ({"username": None, "password": SECRET}, [("/username", "string_type")]),
    ({"username": 7, "password": SECRET}, [("/username", "string_type")]),
    ({"username": ["ann"], "password": SECRET}, [("/username", "string_type")]),
    ({"username": {SECRET: SECRET}, "password": SECRET}, [("/username", "string_type")]),
    ({"username": "ann", "password": None}, [("/password", "string_type")]),
    ({"username": "ann", "password": 4711}, [("/password", "string_type")]),
    ({"username": "ann", "password": [SECRET]}, [("/password", "string_type")]),
    ({"username": "ann", "password": {"value": SECRET}}, [("/password", "string_type")]),
    ({"username": "a\0nn", "password": SECRET}, [("/username", "nul_character")]),
    ({"username": "ann", "password": f"{SECRET}\0"}, [("/password", "nul_character")]),
    ({"username": "ann", "password": f"{SECRET}\ud800"}, [("/password", "unpaired_surrogate")]),
    ({"username": "ann", "password": SECRET, "more": SECRET}, [("/more", "extra_forbidden")]),
    ({"username": "ann", "password": SECRET, "grant_type": "password"}, [("/grant_type", "extra_forbidden")]),
    ([SECRET], [("", "model_attributes_type")]),
    (SECRET, [("", "model_attributes_type")]),
    (None, [("", "model_attributes_type")]),
]


class TestWhatDoesNotFit:
    @pytest.mark.parametrize(("body", "expected"), BAD)
    async def test_is_named_and_not_repeated(
        self,
        client: httpx.AsyncClient,
        url: str,
        caplog: pytest.LogCaptureFixture,
        body: Any,
        expected: list[tuple[str, str]],
    ) -> None:
        (before,) = execute(url, "SELECT (SELECT count(*) FROM activity_log), (SELECT count(*) FROM throttled_keys)")
        answer = await client.post(LOGIN, content=json.dumps(body), headers={"Content-Type": "application/json"})
        assert faults(answer) == expected
        assert SECRET not in answer.text + logged(caplog)
        (after,) = execute(url, "SELECT (SELECT count(*) FROM activity_log), (SELECT count(*) FROM throttled_keys)")
        assert before == after, "it is no attempt"

    @pytest.mark.parametrize(
        ("content", "content_type", "code"),
        [
            (f'{{"username": "ann", "password": "{SECRET}"', "application/json", "json_invalid"),
            (f'{{"username": "ann", "password": NaN, "{SECRET}": 1}}', "application/json", "finite_number"),
            (f"username=ann&password={SECRET}", "application/x-www-form-urlencoded", "json_expected"),
            (f'{{"username": "ann", "password": "{SECRET}"}}', "text/plain", "json_expected"),
            (f'{{"username": "ann", "password": "{SECRET}'.encode() + b'\xff"}', "application/json", "json_invalid"),
            (b"", "application/json", "missing"),
        ],
    )
    async def test_what_is_no_such_json(
        self,
        client: httpx.AsyncClient,
        caplog: pytest.LogCaptureFixture,
        content: str | bytes,
        content_type: str,
        code: str,
    ) -> None:
        answer = await client.post(LOGIN, content=content, headers={"Content-Type": content_type})
        assert code in {fault for _, fault in faults(answer)}
        assert SECRET not in answer.text + logged(caplog)

    async def test_a_huge_body(self, client: httpx.AsyncClient) -> None:
        for size, expected in ((2**20, (413, "payload_too_large")), (2**20 - 100, (422, "validation_failed"))):
            answer = await client.post(LOGIN, json={"username": "ann", "password": "x" * size})
            assert refusal(answer) == expected
            assert len(answer.content) < 1000

    async def test_the_last_of_duplicate_keys_counts(self, client: httpx.AsyncClient, ann: int) -> None:
        body = f'{{"username": "ann", "password": "x", "password": "{PASSWORD}"}}'
        answer = await client.post(LOGIN, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 200

    async def test_there_is_no_other_method(self, client: httpx.AsyncClient) -> None:
        for method in ("GET", "PUT", "DELETE"):
            answer = await client.request(method, LOGIN, headers=bearer())
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_neither_passwords_nor_hashes_nor_tokens_are_logged(
    client: httpx.AsyncClient, ann: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG", "app"):
        tokens = (await sign_in(client, "ann")).json()
        await sign_in(client, "ann", SECRET)
        await sign_in(client, SECRET, SECRET)
        log = logged(caplog)
    assert "POST /api/auth/login 401" in log
    for secret in (PASSWORD, SECRET, hash_of(), tokens["access_token"], tokens["refresh_token"]):
        assert secret not in log
