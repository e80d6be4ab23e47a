"""`PATCH /api/users/me`: what is sent changes, nothing else, and all of it or none."""

import json
from typing import Any

import httpx
import pytest

from tests.features.users.support import ME, Person, add_person, counts, events, faults, refusal, user_row
from tests.support.identity import Service, add_token, add_user, execute, insufficient
from tests.support.service import bearer

pytestmark = pytest.mark.anyio


@pytest.fixture
def ann(service: Service) -> Person:
    return add_person(service)


async def patch(service: Service, person: Person, body: Any) -> httpx.Response:
    """`body` as JSON, surrogates and all."""
    headers = person.headers | {"Content-Type": "application/json"}
    return await service.client.patch(ME, content=json.dumps(body), headers=headers)


async def me(service: Service, person: Person) -> dict[str, Any]:
    answer = await service.client.get(ME, headers=person.headers)
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


@pytest.mark.parametrize(
    ("name", "sent", "kept"),
    [
        ("email", "Ann.Lee+Trading@Example.TEST", "Ann.Lee+Trading@Example.TEST"),
        ("email", "grün@bücher.example", "grün@bücher.example"),
        ("email", "ann@localhost", "ann@localhost"),
        (
            "email",
            f"{'a' * 64}@{'b' * 60}.{'c' * 60}.{'d' * 60}.test",
            f"{'a' * 64}@{'b' * 60}.{'c' * 60}.{'d' * 60}.test",
        ),
        ("username", "Ann.Lee_3-x", "Ann.Lee_3-x"),
        ("username", "abc", "abc"),
        ("username", "x" * 64, "x" * 64),
        ("full_name", "  Ann 🗝 Lee\t", "Ann 🗝 Lee"),
        ("full_name", "李" * 255, "李" * 255),
        ("full_name", "'; DROP TABLE users; --", "'; DROP TABLE users; --"),
        ("preferences", {}, {}),
        ("preferences", {"": [1, 2.5, -0.0, None, {"ü/~": "🗝"}], "big": 10**100}, None),
        ("preferences", {"deep": [[[[[[[[[[]]]]]]]]]]}, None),
        ("alpaca_account_id", " PA 3-x ", "PA 3-x"),
        ("alpaca_account_id", "x" * 100, "x" * 100),
    ],
)
async def test_each_field(service: Service, ann: Person, name: str, sent: Any, kept: Any) -> None:
    await patch(service, ann, {"preferences": {"old": True}})
    before = await me(service, ann)
    answer = await patch(service, ann, {name: sent})
    after = answer.json()
    assert answer.status_code == 200
    assert after[name] == (sent if kept is None else kept)
    assert after["updated_at"] > before["updated_at"]
    unchanged = {"updated_at": after["updated_at"], name: after[name]}
    assert after == before | unchanged == await me(service, ann)


async def test_all_at_once(service: Service, ann: Person) -> None:
    body = {
        "email": "all@example.test",
        "username": "all",
        "full_name": "Ann Lee",
        "preferences": {"theme": "dark"},
        "alpaca_account_id": "PA7",
    }
    answer = await patch(service, ann, body)
    assert answer.status_code == 200
    assert answer.json().items() >= body.items()
    cleared = {"username": None, "full_name": None, "alpaca_account_id": None}
    assert (await patch(service, ann, cleared)).json().items() >= (body | cleared).items()


@pytest.mark.parametrize("value", [1, 1.0, True])
@pytest.mark.parametrize("other", [1, 1.0, True])
async def test_numbers_and_booleans_are_not_the_same(service: Service, ann: Person, value: Any, other: Any) -> None:
    await patch(service, ann, {"preferences": {"a": [value]}})
    await patch(service, ann, {"preferences": {"a": [other]}})
    assert user_row(service.url, ann.id)["preferences"] == json.dumps({"a": [other]})


class TestTheLog:
    async def test_a_change(self, service: Service, ann: Person) -> None:
        body = {"email": "log@example.test", "username": "log", "full_name": "Ann", "preferences": {"secret": "s3"}}
        agent = {"User-Agent": "tests", "X-Request-ID": "change-1"}
        await service.client.patch(ME, json=body, headers=ann.headers | agent)
        (event,) = events(service.url, ann.id)
        assert event["action_type"] == "user_changed"
        assert event["details"] == {
            "fields": ["email", "full_name", "preferences", "username"],
            "changes": {
                "email": {"from": ann.email, "to": "log@example.test"},
                "username": {"from": None, "to": "log"},
            },
        }
        assert (event["user_email"], event["actor_email"]) == ("log@example.test", ann.email)
        assert (event["actor_id"], event["actor_kind"]) == (ann.id, "session")
        assert (event["user_agent"], event["request_id"]) == ("tests", "change-1")

    async def test_what_changes_nothing_leaves_nothing(self, service: Service, ann: Person) -> None:
        body = {"email": ann.email, "username": "same", "full_name": None, "preferences": {"b": 1, "a": [2]}}
        await patch(service, ann, body)
        row, logged = user_row(service.url, ann.id), counts(service.url)
        for nothing in ({}, body, {"preferences": {"a": [2], "b": 1}}, {"full_name": None, "alpaca_account_id": None}):
            answer = await patch(service, ann, nothing)
            assert answer.status_code == 200
        assert (user_row(service.url, ann.id), counts(service.url)) == (row, logged)

    async def test_only_what_differed_is_told(self, service: Service, ann: Person) -> None:
        await patch(service, ann, {"email": ann.email, "full_name": "New"})
        (event,) = events(service.url, ann.id)
        assert event["details"] == {"fields": ["full_name"], "changes": {}}


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"email": None}, "/email", "string_type"),
        ({"email": 7}, "/email", "string_type"),
        ({"email": ["a@b.test"]}, "/email", "string_type"),
        ({"email": ""}, "/email", "email"),
        ({"email": "ann"}, "/email", "email"),
        ({"email": "ann@"}, "/email", "email"),
        ({"email": "@example.test"}, "/email", "email"),
        ({"email": "a@b@example.test"}, "/email", "email"),
        ({"email": "Ann <ann@example.test>"}, "/email", "email"),
        ({"email": " ann@example.test"}, "/email", "email"),
        ({"email": "ann@example.test\n"}, "/email", "email"),
        ({"email": "a" * 65 + "@example.test"}, "/email", "email"),
        ({"email": "ann@" + "x" * 1000 + ".test"}, "/email", "email"),
        ({"email": "a\0@example.test"}, "/email", "nul_character"),
        ({"email": "a\ud800@example.test"}, "/email", "unpaired_surrogate"),
        ({"username": ""}, "/username", "username"),
        ({"username": "ab"}, "/username", "username"),
        ({"username": "x" * 65}, "/username", "username"),
        ({"username": "ann lee"}, "/username", "username"),
        ({"username": "ann\n"}, "/username", "username"),
        ({"username": "ann@example.test"}, "/username", "username"),
        ({"username": "аnn"}, "/username", "username"),  # noqa: RUF001 - a Cyrillic letter
        ({"username": "ａｎｎ"}, "/username", "username"),  # noqa: RUF001 - full width
        ({"username": True}, "/username", "string_type"),
        ({"full_name": ""}, "/full_name", "string_too_short"),
        ({"full_name": " \t"}, "/full_name", "string_too_short"),
        ({"full_name": "x" * 256}, "/full_name", "string_too_long"),
        ({"full_name": "a\0b"}, "/full_name", "nul_character"),
        ({"full_name": {}}, "/full_name", "string_type"),
        ({"preferences": None}, "/preferences", "dict_type"),
        ({"preferences": []}, "/preferences", "dict_type"),
        ({"preferences": "{}"}, "/preferences", "dict_type"),
        ({"preferences": {"a": ["b\0"]}}, "/preferences/a/0", "nul_character"),
        ({"preferences": {"a\0": 1}}, "/preferences", "nul_character"),
        ({"preferences": {"a": float("nan")}}, "/preferences/a", "finite_number"),
        ({"preferences": {"a": float("inf")}}, "/preferences/a", "finite_number"),
        ({"preferences": {"a": "x" * 64 * 1024}}, "/preferences", "too_large"),
        ({"preferences": {"a": "李" * 22_000}}, "/preferences", "too_large"),
        ({"alpaca_account_id": ""}, "/alpaca_account_id", "string_too_short"),
        ({"alpaca_account_id": "  "}, "/alpaca_account_id", "string_too_short"),
        ({"alpaca_account_id": "x" * 101}, "/alpaca_account_id", "string_too_long"),
        ({"alpaca_account_id": "PA\n7"}, "/alpaca_account_id", "printable"),
        ({"alpaca_account_id": "PA\u200b7"}, "/alpaca_account_id", "printable"),
        ({"alpaca_account_id": 7}, "/alpaca_account_id", "string_type"),
        ({"role": "owner"}, "/role", "extra_forbidden"),
        ({"is_active": True}, "/is_active", "extra_forbidden"),
        ({"id": 1}, "/id", "extra_forbidden"),
        ({"password": "x"}, "/password", "extra_forbidden"),
        ({"password_hash": "x"}, "/password_hash", "extra_forbidden"),
        ({"Email": "ann@example.test"}, "/Email", "extra_forbidden"),
        ([], "", "model_attributes_type"),
        (None, "", "model_attributes_type"),
        ("x", "", "model_attributes_type"),
    ],
)
async def test_what_does_not_fit_is_named(service: Service, body: Any, pointer: str, code: str) -> None:
    ann = add_person(service)
    row = user_row(service.url, ann.id)
    if isinstance(body, dict) and "full_name" not in body:
        body = {"full_name": "Not kept"} | body
    answer = await patch(service, ann, body)
    assert faults(answer) == [(pointer, code)]
    assert user_row(service.url, ann.id) == row


async def test_preferences_of_the_largest_size(service: Service, ann: Person) -> None:
    preferences = {"a": "x" * (64 * 1024 - len('{"a": ""}'))}
    answer = await patch(service, ann, {"preferences": preferences})
    assert (answer.status_code, answer.json()["preferences"]) == (200, preferences)


async def test_a_huge_body(service: Service, ann: Person) -> None:
    assert refusal(await patch(service, ann, {"full_name": "x" * 2_000_000})) == (413, "payload_too_large")


async def test_old_preferences_that_are_no_object_are_replaced(service: Service, ann: Person) -> None:
    execute(service.url, "UPDATE users SET preferences = '[1]' WHERE id = :id", id=ann.id)
    assert (await me(service, ann))["preferences"] == [1]
    assert (await patch(service, ann, {"full_name": "Ann"})).json()["preferences"] == [1]
    assert (await patch(service, ann, {"preferences": {}})).json()["preferences"] == {}


async def test_an_old_role_and_name_stay(service: Service) -> None:
    old = add_person(service, role="beta_tester")
    execute(service.url, "UPDATE users SET username = 'old name!' WHERE id = :id", id=old.id)
    answer = await patch(service, old, {"full_name": "Old"})
    assert (answer.status_code, answer.json()["role"], answer.json()["username"]) == (200, "beta_tester", "old name!")


async def test_whom_it_takes(service: Service) -> None:
    user_id = add_user(service.url, "scoped@example.test")
    writer, reader = (bearer(add_token(service.url, user_id, [scope])) for scope in ("write", "read"))
    body = {"full_name": "By a token"}
    assert (await service.client.patch(ME, json=body, headers=writer)).status_code == 200
    refused = await service.client.patch(ME, json=body, headers=reader)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (403, insufficient("write"))
    assert (await service.client.patch(ME, json=body)).status_code == 401


async def test_nobody_else_changes(service: Service, ann: Person) -> None:
    others = execute(service.url, "SELECT id, updated_at FROM users WHERE id <> :id ORDER BY id", id=ann.id)
    await patch(service, ann, {"full_name": "Ann", "preferences": {"a": 1}})
    assert execute(service.url, "SELECT id, updated_at FROM users WHERE id <> :id ORDER BY id", id=ann.id) == others
