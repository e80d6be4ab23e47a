"""`PUT /api/users/me/password`: whoever knows the present password sets another, and ends the other sessions."""

import asyncio
import unicodedata
from hashlib import sha256
from typing import Any

import bcrypt
import httpx
import pytest
from sqlalchemy import text

from app.db.engine import connect
from app.identity.passwords import hash_password
from app.identity.throttle import Kind, network_of
from tests.features.users.support import ME, OWNER, PASSWORD_HASH, Person, add_person, events, faults, refusal, user_row
from tests.support.accounts import PASSWORD, password_of, sign_in
from tests.support.identity import Service, add_session, add_token, execute, insufficient
from tests.support.service import bearer

pytestmark = pytest.mark.anyio

URL = f"{ME}/password"
NEW = password_of("new")


@pytest.fixture(autouse=True)
def _nobody_failed_before(service: Service) -> None:
    execute(service.url, "DELETE FROM throttled_keys")


@pytest.fixture
def ann(service: Service) -> Person:
    return add_person(service, password_hash=PASSWORD_HASH)


async def change(service: Service, headers: dict[str, str], current: Any = PASSWORD, new: Any = NEW) -> httpx.Response:
    body = {"current_password": current, "new_password": new}
    return await service.client.put(URL, json=body, headers=headers)


async def is_alive(service: Service, headers: dict[str, str]) -> bool:
    return (await service.client.get(ME, headers=headers)).status_code == 200


async def signs_in(service: Service, person: Person, password: str) -> bool:
    """By the hash in the database, so that no throttle has a say."""
    return (await sign_in(service.client, person.email, password)).status_code == 200


async def test_the_new_one_signs_in_and_the_old_one_does_not(service: Service, ann: Person) -> None:
    answer = await change(service, ann.headers)
    assert (answer.status_code, answer.content) == (204, b"")
    assert user_row(service.url, ann.id)["password_hash"].startswith("$argon2id$")
    assert await signs_in(service, ann, NEW)
    assert not await signs_in(service, ann, PASSWORD)
    assert (await change(service, ann.headers)).status_code == 403
    assert (await change(service, ann.headers, NEW, password_of("third"))).status_code == 204


async def test_the_other_sessions_end(service: Service, ann: Person) -> None:
    other, bystander = bearer(add_session(service.client, ann.id)), add_person(service)
    script = bearer(add_token(service.url, ann.id))
    await change(service, ann.headers)
    alive = [await is_alive(service, headers) for headers in (ann.headers, other, bystander.headers, script)]
    assert alive == [True, False, True, True]
    reasons = execute(service.url, "SELECT end_reason FROM user_sessions WHERE user_id = :id ORDER BY id", id=ann.id)
    assert [row["end_reason"] for row in reasons] == [None, "password_change"]


async def test_resets_that_were_issued_are_void(service: Service, ann: Person) -> None:
    issued = await service.client.post(f"/api/users/{ann.id}/password-reset", headers=OWNER)
    await change(service, ann.headers)
    body = {"token": issued.json()["token"], "new_password": password_of("reset")}
    answer = await service.client.post("/api/auth/password/reset", json=body)
    assert refusal(answer) == (400, "invalid_reset_token")


async def test_the_log(service: Service, ann: Person) -> None:
    await change(service, ann.headers, "wrong")
    await change(service, ann.headers)
    refused, changed = events(service.url, ann.id)
    assert (refused["action_type"], refused["details"]) == ("password_change_refused", {"reason": "wrong_password"})
    assert (changed["action_type"], changed["details"]) == ("password_changed", {})
    for event in (refused, changed):
        assert (event["actor_id"], event["actor_kind"], event["user_email"]) == (ann.id, "session", ann.email)


class TestRefused:
    @pytest.mark.parametrize("wrong", ["x", PASSWORD.upper(), PASSWORD + " ", "ü" * 1024])
    async def test_a_wrong_password(self, service: Service, ann: Person, wrong: str) -> None:
        row, other = user_row(service.url, ann.id), bearer(add_session(service.client, ann.id))
        answer = await change(service, ann.headers, wrong)
        assert refusal(answer) == (403, "wrong_password")
        assert "www-authenticate" not in answer.headers
        assert wrong not in answer.text or wrong == "x"
        assert user_row(service.url, ann.id) == row
        assert await is_alive(service, other)

    @pytest.mark.parametrize("stored", [None, "", "garbage", "$argon2id$v=19$m=1,t=1,p=1$x$y"])
    async def test_who_has_none(self, service: Service, stored: str | None) -> None:
        person = add_person(service, password_hash=stored)
        for guess in ("", "garbage", "x"):
            answer = await change(service, person.headers, guess)
            assert answer.status_code == (422 if guess == "" else 403)

    async def test_the_mvp_user_claims_instead(self, service: Service) -> None:
        assert refusal(await change(service, OWNER)) == (403, "wrong_password")

    @pytest.mark.parametrize(
        ("new", "code"),
        [
            ("short", "password_too_short"),
            ("x" * 257, "password_too_long"),
            ("passwordpassword", "password_too_weak"),
            (PASSWORD, "password_unchanged"),
            (None, "string_type"),
            (7, "string_type"),
            ("twelve\0characters", "nul_character"),
        ],
    )
    async def test_a_new_one_that_will_not_do(self, service: Service, ann: Person, new: Any, code: str) -> None:
        row = user_row(service.url, ann.id)
        answer = await change(service, ann.headers, PASSWORD, new)
        assert faults(answer) == [("/new_password", code)]
        assert not isinstance(new, str) or new not in answer.json()["errors"][0]["message"]
        assert user_row(service.url, ann.id) == row

    async def test_names_are_weak(self, service: Service, ann: Person) -> None:
        execute(service.url, "UPDATE users SET full_name = 'Quillon Varbethe' WHERE id = :id", id=ann.id)
        answer = await change(service, ann.headers, PASSWORD, "quillonvarbethe")
        assert faults(answer) == [("/new_password", "password_too_weak")]

    async def test_the_same_in_another_normal_form(self, service: Service) -> None:
        composed = unicodedata.normalize("NFC", "Übergröße-wälzt-42-Möwen")
        person = add_person(service, password_hash=hash_password(composed))
        answer = await change(service, person.headers, composed, unicodedata.normalize("NFD", composed))
        assert faults(answer) == [("/new_password", "password_unchanged")]

    @pytest.mark.parametrize(
        ("body", "found"),
        [
            ({}, [("/current_password", "missing"), ("/new_password", "missing")]),
            ({"new_password": NEW}, [("/current_password", "missing")]),
            ({"current_password": "", "new_password": NEW}, [("/current_password", "password_length")]),
            ({"current_password": "x" * 1025, "new_password": NEW}, [("/current_password", "password_length")]),
            ({"current_password": ["x"], "new_password": NEW}, [("/current_password", "string_type")]),
            ({"current_password": "x", "new_password": NEW, "user_id": 1}, [("/user_id", "extra_forbidden")]),
            ([], [("", "model_attributes_type")]),
        ],
    )
    async def test_bodies(self, service: Service, ann: Person, body: Any, found: list[tuple[str, str]]) -> None:
        answer = await service.client.put(URL, json=body, headers=ann.headers)
        assert faults(answer) == found
        assert NEW not in answer.text

    async def test_an_api_token(self, service: Service, ann: Person) -> None:
        answer = await change(service, bearer(add_token(service.url, ann.id, ["read", "write", "admin"])))
        assert (answer.status_code, answer.headers["www-authenticate"]) == (403, insufficient("issue"))
        assert (await change(service, {})).status_code == 401


class TestThrottle:
    async def test_guessing_is_slowed_down(self, service: Service, ann: Person) -> None:
        answers = [await change(service, ann.headers, f"guess {number}") for number in range(7)]
        assert [answer.status_code for answer in answers] == [403] * 5 + [429] * 2
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        assert refusal(await change(service, ann.headers)) == (429, "too_many_attempts")
        assert refusal(await sign_in(service.client, ann.email)) == (429, "too_many_attempts")
        reasons = [event["details"].get("reason") for event in events(service.url, ann.id)]
        assert reasons[:8] == ["wrong_password"] * 5 + ["too_many_attempts"] * 3

    async def test_a_right_password_forgives(self, service: Service, ann: Person) -> None:
        await self.almost_too_often(service, ann)
        assert (await change(service, ann.headers)).status_code == 204
        assert execute(service.url, "SELECT failures FROM throttled_keys") == [{"failures": 4}]  # of the network
        for _ in range(2):
            assert (await change(service, ann.headers, "wrong")).status_code == 403

    async def test_a_weak_new_one_is_no_failure(self, service: Service, ann: Person) -> None:
        await self.almost_too_often(service, ann)
        for _ in range(2):
            assert (await change(service, ann.headers, PASSWORD, "passwordpassword")).status_code == 422
        assert (await change(service, ann.headers, "wrong")).status_code == 403
        assert (await change(service, ann.headers)).status_code == 429

    async def test_many_guesses_at_once(self, service: Service, ann: Person) -> None:
        await self.almost_too_often(service, ann)
        answers = await asyncio.gather(*(change(service, ann.headers, f"guess {number}") for number in range(6)))
        assert sorted(answer.status_code for answer in answers) == [403] + [429] * 5

    @staticmethod
    async def almost_too_often(service: Service, person: Person) -> None:
        """One more failure, and the account has to wait."""
        assert (await change(service, person.headers, "wrong")).status_code == 403
        execute(service.url, "UPDATE throttled_keys SET failures = 4")


async def test_of_several_changes_at_once_one_succeeds(service: Service, ann: Person) -> None:
    passwords = [password_of(str(number)) for number in range(3)]
    answers = await asyncio.gather(*(change(service, ann.headers, PASSWORD, new) for new in passwords))
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(204) == 1
    assert set(statuses) <= {204, 403, 503}
    assert await signs_in(service, ann, passwords[statuses.index(204)])


async def test_it_does_not_wait_in_a_circle_with_who_guesses(service: Service, ann: Person) -> None:
    """Rows of the throttle are locked by ascending key; the username's comes before the network's."""
    network = key_of(Kind.NETWORK, network_of("127.0.0.1"))
    username = next(name for name in map("ann{}".format, range(99)) if key_of(Kind.NAME, name) < network)
    execute(service.url, "UPDATE users SET username = :name WHERE id = :id", name=username, id=ann.id)
    assert (await sign_in(service.client, username, "wrong")).status_code == 401
    locked = "SELECT FROM throttled_keys WHERE key = :key FOR UPDATE"
    with connect(service.url) as guess, guess.begin():
        guess.execute(text(locked), {"key": key_of(Kind.NAME, username)})
        request = asyncio.create_task(change(service, ann.headers))
        waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        while not execute(service.url, waiting):
            assert not request.done()
            await asyncio.sleep(0.01)
        assert len(execute(service.url, f"{locked} NOWAIT", key=network)) == 1
    assert (await request).status_code == 204
    assert execute(service.url, "SELECT FROM throttled_keys WHERE key <> :key OR failures <> 1", key=network) == []


def key_of(kind: Kind, value: str) -> bytes:
    return sha256(f"{kind}\0{value}".encode()).digest()


async def test_an_old_bcrypt_hash(service: Service) -> None:
    old = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    person = add_person(service, password_hash=old)
    assert refusal(await change(service, person.headers, "wrong")) == (403, "wrong_password")
    assert (await change(service, person.headers)).status_code == 204
    assert user_row(service.url, person.id)["password_hash"].startswith("$argon2id$")
