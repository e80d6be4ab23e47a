"""`DELETE /api/users/me` and `DELETE /api/users/{id}`: the account and all that is its own; the log stays."""

import asyncio

import httpx
import pytest
from sqlalchemy import text

from app.db.engine import connect
from tests.features.users.support import ME, OWNER, PASSWORD_HASH, USERS, Person, add_person, events, refusal, user_row
from tests.support.accounts import PASSWORD, password_of
from tests.support.identity import INVALID, Service, add_token, execute, insufficient
from tests.support.service import MVP_TOKEN, bearer

pytestmark = pytest.mark.anyio


@pytest.fixture
def ann(service: Service) -> Person:
    return add_person(service)


THEIR_OWN = """
order_templates (user_id, name, symbol, side, quantity, order_type, created_at, updated_at) \
    VALUES (:id, 'x', 'AAPL', 'buy', 1, 'market', now(), now())
ai_recommendations (user_id, symbol, recommendation_type, confidence_score, analysis_data, status, created_at) \
    VALUES (:id, 'AAPL', 'buy', 50, '{}', 'pending', now())
idempotency_keys (user_id, operation, key, fingerprint) VALUES (:id, 'x', 'x', sha256('x'))
known_addresses (user_id, network) VALUES (:id, '192.0.2.1/32')
invitations (secret_hash, role, created_by, used_by, expires_at) VALUES (sha256('x'), 'member', :id, :id, now())
mvp_claim (id, user_id) VALUES (1, :id)
""".strip().splitlines()
"""Rows that point to a user, besides those that the API made."""


async def delete(service: Service, user_id: int | str, headers: dict[str, str] = OWNER) -> httpx.Response:
    return await service.client.delete(f"{USERS}/{user_id}", headers=headers)


def of_the_user(url: str, user_id: int) -> dict[str, int]:
    """How many rows point to the user, by table."""
    foreign_keys = execute(
        url,
        "SELECT conrelid::regclass::text AS table, attname AS column FROM pg_constraint "
        "JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1] "
        "WHERE contype = 'f' AND confrelid = 'users'::regclass",
    )
    return {
        f"{key['table']}.{key['column']}": execute(
            url, f"SELECT count(*) AS count FROM {key['table']} WHERE {key['column']} = :id", id=user_id
        )[0]["count"]
        for key in foreign_keys
    }


async def test_all_that_is_their_own_goes(service: Service, ann: Person) -> None:
    add_token(service.url, ann.id)
    await service.client.post(f"{USERS}/{ann.id}/password-reset", headers=OWNER)
    for insert in THEIR_OWN:
        execute(service.url, f"INSERT INTO {insert}", id=ann.id)
    assert all(of_the_user(service.url, ann.id).values())
    answer = await service.client.delete(ME, headers=ann.headers)
    assert (answer.status_code, answer.content) == (204, b"")
    assert not any(of_the_user(service.url, ann.id).values())
    kept = execute(service.url, "SELECT count(*) AS count FROM invitations UNION ALL SELECT count(*) FROM mvp_claim")
    assert [row["count"] for row in kept] == [1, 1]
    execute(service.url, "DELETE FROM mvp_claim")


async def test_their_credentials_go(service: Service, ann: Person) -> None:
    script = bearer(add_token(service.url, ann.id))
    await delete(service, ann.id)
    for headers in (ann.headers, script):
        answer = await service.client.get(ME, headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, INVALID)
    assert (await delete(service, ann.id)).status_code == 404


@pytest.mark.parametrize("by_themselves", [True, False])
async def test_the_log_stays(service: Service, ann: Person, by_themselves: bool) -> None:
    execute(
        service.url,
        "INSERT INTO activity_log (user_id, action_type, details, timestamp) VALUES (:id, 'old', '{}', now())",
        id=ann.id,
    )
    await service.client.patch(ME, json={"full_name": "Ann"}, headers=ann.headers)
    await (service.client.delete(ME, headers=ann.headers) if by_themselves else delete(service, ann.id))
    logged = events(service.url, ann.id)
    assert [event["action_type"] for event in logged] == ["old", "user_changed", "user_deleted"]
    assert {event["user_email"] for event in logged} == {ann.email}
    assert logged[-1]["actor_id"] == (ann.id if by_themselves else 1)


async def test_their_names_are_free_again(service: Service, ann: Person) -> None:
    await delete(service, ann.id)
    answer = await service.client.post(USERS, json={"email": ann.email, "role": "member"}, headers=OWNER)
    assert answer.status_code == 201
    assert answer.json()["id"] > ann.id


async def test_the_last_owner_stays(service: Service) -> None:
    idle = add_person(service, role="owner")
    execute(service.url, "UPDATE users SET is_active = false WHERE id = :id", id=idle.id)
    row = user_row(service.url, 1)
    for answer in (await service.client.delete(ME, headers=OWNER), await delete(service, 1)):
        assert refusal(answer) == (409, "last_owner")
    assert user_row(service.url, 1) == row
    event = events(service.url, 1)[-1]
    assert (event["action_type"], event["details"]) == ("user_change_refused", {"reason": "last_owner"})
    assert (await delete(service, idle.id)).status_code == 204


async def test_an_owner_among_others_may_go(service: Service) -> None:
    first, second = add_person(service, role="owner"), add_person(service, role="owner")
    assert (await service.client.delete(ME, headers=first.headers)).status_code == 204
    assert (await delete(service, second.id, second.headers)).status_code == 204


async def test_the_mvp_user_may_go_and_does_not_come_back(mvp: httpx.AsyncClient, clone_url: str) -> None:
    other = add_person(Service(clone_url, mvp), role="owner")
    assert (await mvp.delete(ME)).status_code == 204
    assert (await mvp.get(ME, headers=bearer(MVP_TOKEN))).status_code == 401
    assert [event["action_type"] for event in events(clone_url, 1)][-2:] == ["token_revoked", "user_deleted"]
    (claim,) = execute(clone_url, "SELECT user_id FROM mvp_claim")
    assert claim["user_id"] is None
    assert (await mvp.get(USERS, headers=other.headers)).json()["items"][0]["id"] == other.id


async def test_who_may_delete_themselves(service: Service, ann: Person) -> None:
    script = bearer(add_token(service.url, ann.id, ["read", "write", "admin"]))
    answer = await service.client.delete(ME, headers=script)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (403, insufficient("issue"))
    assert (await service.client.delete(ME)).status_code == 401
    assert (await service.client.get(ME, headers=ann.headers)).status_code == 200


async def test_of_several_at_once_one_deletes(service: Service, ann: Person) -> None:
    answers = await asyncio.gather(*(delete(service, ann.id) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [204] + [404] * 7


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PATCH", "/{id}", {"role": "owner"}, 404),
        ("PATCH", "/{id}", {"full_name": "Ann"}, 404),
        ("DELETE", "/{id}", None, 404),
        ("POST", "/{id}/password-reset", None, 404),
        ("PATCH", "/me", {"full_name": "Ann"}, 404),
        ("DELETE", "/me", None, 404),
        ("PUT", "/me/password", {"current_password": PASSWORD, "new_password": password_of("new")}, 401),
    ],
)
async def test_who_waits_for_a_deletion_finds_nobody(
    service: Service, method: str, path: str, body: object, status: int
) -> None:
    ann = add_person(service, password_hash=PASSWORD_HASH)
    headers = ann.headers if "me" in path else OWNER
    with connect(service.url) as deletion, deletion.begin():
        deletion.execute(text("DELETE FROM users WHERE id = :id"), {"id": ann.id})
        url = USERS + path.format(id=ann.id)
        request = asyncio.create_task(service.client.request(method, url, json=body, headers=headers))
        waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        while not execute(service.url, waiting):
            assert not request.done()
            await asyncio.sleep(0.01)
    assert (await request).status_code == status
