"""`PATCH /api/users/{id}`: roles, deactivation and names, and an owner who always remains."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.features.users.support import ME, OWNER, USERS, Person, add_person, counts, events, faults, refusal, user_row
from tests.support.identity import INVALID, Service, add_session, add_token, execute, insufficient
from tests.support.service import bearer

pytestmark = pytest.mark.anyio


@pytest.fixture
def ann(service: Service) -> Person:
    return add_person(service)


async def patch(service: Service, user_id: int, body: Any, headers: dict[str, str] = OWNER) -> httpx.Response:
    """`body` as JSON, surrogates and all."""
    headers = headers | {"Content-Type": "application/json"}
    return await service.client.patch(f"{USERS}/{user_id}", content=json.dumps(body), headers=headers)


async def test_each_field_alone_and_all_together(service: Service, ann: Person) -> None:
    body = {"role": "owner", "is_active": False, "full_name": "Ann", "username": "ann.b", "email": "ann@b.example"}
    for name, value in body.items():
        before = (await service.client.get(f"{USERS}/{ann.id}", headers=OWNER)).json()
        answer = await patch(service, ann.id, {name: value})
        after = answer.json()
        assert answer.status_code == 200
        assert after == before | {name: value, "updated_at": after["updated_at"]}
        assert after["updated_at"] > before["updated_at"]
    back = {"role": "member", "is_active": True, "full_name": None, "username": None, "email": ann.email}
    assert (await patch(service, ann.id, back)).json().items() >= back.items()


async def test_a_role_counts_from_the_next_request_on(service: Service, ann: Person) -> None:
    script = bearer(add_token(service.url, ann.id, ["admin"]))
    for role, status in (("member", 403), ("owner", 200), ("member", 403)):
        await patch(service, ann.id, {"role": role})
        for headers in (ann.headers, script):
            answer = await service.client.get(USERS, headers=headers)
            assert answer.status_code == status
            assert status == 200 or answer.headers["www-authenticate"] == insufficient("admin")
    assert (await service.client.get(ME, headers=ann.headers)).status_code == 200


async def test_who_is_deactivated_is_out_at_once(service: Service, ann: Person) -> None:
    script, second = bearer(add_token(service.url, ann.id)), bearer(add_session(service.client, ann.id))
    await patch(service, ann.id, {"is_active": False})
    for headers in (ann.headers, second, script):
        answer = await service.client.get(ME, headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, INVALID)
    await patch(service, ann.id, {"is_active": True})
    alive = [(await service.client.get(ME, headers=headers)).status_code for headers in (ann.headers, second, script)]
    assert alive == [401, 401, 200]
    reasons = execute(service.url, "SELECT end_reason FROM user_sessions WHERE user_id = :id", id=ann.id)
    assert {row["end_reason"] for row in reasons} == {"deactivation"}


async def test_the_log(service: Service, ann: Person) -> None:
    await patch(service, ann.id, {"role": "owner", "is_active": False, "full_name": "Ann"})
    await patch(service, ann.id, {"role": "owner"})
    await patch(service, ann.id, {"email": "mvp@localhost"})
    changed, refused = events(service.url, ann.id)
    assert (changed["action_type"], changed["actor_id"], changed["actor_kind"]) == ("user_changed", 1, "mvp_token")
    assert changed["details"] == {
        "fields": ["full_name", "is_active", "role"],
        "changes": {"is_active": {"from": True, "to": False}, "role": {"from": "member", "to": "owner"}},
    }
    assert (refused["action_type"], refused["details"]) == ("user_change_refused", {"reason": "email_taken"})
    assert (refused["actor_id"], refused["user_email"]) == (1, ann.email)


async def test_what_changes_nothing_leaves_nothing(service: Service, ann: Person) -> None:
    row, logged = user_row(service.url, ann.id), counts(service.url)
    for body in ({}, {"role": "member", "is_active": True, "email": ann.email, "username": None}):
        answer = await patch(service, ann.id, body)
        assert answer.status_code == 200
    assert (user_row(service.url, ann.id), counts(service.url)) == (row, logged)


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"role": None}, "/role", "literal_error"),
        ({"role": "beta_tester"}, "/role", "literal_error"),
        ({"role": "OWNER"}, "/role", "literal_error"),
        ({"role": 1}, "/role", "literal_error"),
        ({"is_active": None}, "/is_active", "bool_type"),
        ({"is_active": "false"}, "/is_active", "bool_type"),
        ({"is_active": 0}, "/is_active", "bool_type"),
        ({"email": None}, "/email", "string_type"),
        ({"email": "x"}, "/email", "email"),
        ({"username": "x y"}, "/username", "username"),
        ({"username": "a\0b"}, "/username", "nul_character"),
        ({"full_name": "\ud800"}, "/full_name", "unpaired_surrogate"),
        ({"preferences": {}}, "/preferences", "extra_forbidden"),
        ({"alpaca_account_id": "x"}, "/alpaca_account_id", "extra_forbidden"),
        ({"password": "x"}, "/password", "extra_forbidden"),
        ("x", "", "model_attributes_type"),
    ],
)
async def test_what_does_not_fit_is_named(service: Service, ann: Person, body: Any, pointer: str, code: str) -> None:
    row = user_row(service.url, ann.id)
    assert faults(await patch(service, ann.id, body)) == [(pointer, code)]
    assert user_row(service.url, ann.id) == row


async def test_an_old_role_stays_until_it_is_changed(service: Service) -> None:
    old = add_person(service, role="personal_only")
    assert (await patch(service, old.id, {"full_name": "Old"})).json()["role"] == "personal_only"
    assert (await patch(service, old.id, {"role": "member"})).json()["role"] == "member"


async def test_a_huge_body(service: Service, ann: Person) -> None:
    assert refusal(await patch(service, ann.id, {"full_name": "x" * 2_000_000})) == (413, "payload_too_large")


class TestTheLastOwner:
    @pytest.mark.parametrize("body", [{"role": "member"}, {"is_active": False}, {"role": "member", "is_active": False}])
    async def test_is_kept(self, service: Service, body: dict[str, Any]) -> None:
        add_person(service, role="Owner")
        idle = add_person(service, role="owner")
        await patch(service, idle.id, {"is_active": False})
        row = user_row(service.url, 1)
        answer = await patch(service, 1, body | {"full_name": "Not kept"})
        assert refusal(answer) == (409, "last_owner")
        assert user_row(service.url, 1) == row
        event = events(service.url, 1)[-1]
        assert (event["action_type"], event["details"]) == ("user_change_refused", {"reason": "last_owner"})

    async def test_may_change_what_keeps_it_one(self, service: Service) -> None:
        answer = await patch(service, 1, {"role": "owner", "is_active": True, "full_name": "Founder"})
        assert (answer.status_code, answer.json()["full_name"]) == (200, "Founder")

    async def test_may_go_when_there_is_another(self, service: Service) -> None:
        other = add_person(service, role="owner")
        assert (await patch(service, other.id, {"role": "member"}, other.headers)).status_code == 200
        assert (await service.client.get(USERS, headers=other.headers)).status_code == 403
        assert (await patch(service, other.id, {"role": "owner"})).status_code == 200
        assert (await patch(service, other.id, {"is_active": False}, other.headers)).status_code == 200
        assert (await service.client.get(ME, headers=other.headers)).status_code == 401


@pytest.fixture
def nobody_else_is_an_owner(service: Service) -> Any:
    execute(service.url, "UPDATE users SET role = 'member'")
    yield
    execute(service.url, "UPDATE users SET role = 'owner' WHERE id = 1")


@pytest.mark.usefixtures("nobody_else_is_an_owner")
class TestTwoOwnersAtOnce:
    """Whatever two do to each other or to themselves at the same moment, one active owner remains."""

    DEMOTE, DEACTIVATE = {"role": "member"}, {"is_active": False}

    async def act(self, service: Service, actor: Person, target: Person, change: dict[str, Any] | None) -> int:
        """Whoever was changed while waiting for a connection is told to come again, and does."""
        status = await self.try_once(service, actor, target, change)
        return await self.try_once(service, actor, target, change) if status == 503 else status

    @staticmethod
    async def try_once(service: Service, actor: Person, target: Person, change: dict[str, Any] | None) -> int:
        if change is None:
            return (await service.client.delete(f"{USERS}/{target.id}", headers=actor.headers)).status_code
        return (await patch(service, target.id, change, actor.headers)).status_code

    @pytest.mark.parametrize(
        ("changes", "each_other"),
        [
            ((DEMOTE, DEMOTE), True),
            ((DEMOTE, DEMOTE), False),
            ((DEMOTE, DEACTIVATE), True),
            ((DEACTIVATE, None), True),
            ((None, None), True),
            ((None, None), False),
        ],
    )
    async def test_one_remains(self, service: Service, changes: tuple[Any, Any], each_other: bool) -> None:
        for _ in range(10 if changes == (self.DEMOTE, self.DEMOTE) else 4):
            execute(service.url, "UPDATE users SET role = 'member'")
            ann, bob = add_person(service, role="owner"), add_person(service, role="owner")
            targets = (bob, ann) if each_other else (ann, bob)
            statuses = await asyncio.gather(
                self.act(service, ann, targets[0], changes[0]), self.act(service, bob, targets[1], changes[1])
            )
            assert sum(status in {200, 204} for status in statuses) == 1
            assert set(statuses) <= {200, 204, 401, 403, 409}
            owners = execute(service.url, "SELECT id FROM users WHERE role = 'owner' AND is_active")
            assert len(owners) == 1

    async def test_of_many_owners_who_leave_one_cannot(self, service: Service) -> None:
        owners = [add_person(service, role="owner") for _ in range(8)]
        statuses = await asyncio.gather(*(self.act(service, owner, owner, self.DEMOTE) for owner in owners))
        assert sorted(statuses) == [200] * 7 + [409]
