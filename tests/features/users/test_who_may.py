"""Other people's accounts are for owners: members are refused alike whether the account exists or not."""

import pytest

from tests.features.users.support import USERS, add_person, counts, events, user_row
from tests.support.accounts import trail
from tests.support.identity import Service, add_token, insufficient, without_request_id
from tests.support.service import bearer

pytestmark = pytest.mark.anyio

NEW = {"email": "new@example.test", "role": "owner"}
ADMIN_ROUTES = [
    ("GET", USERS, None),
    ("POST", USERS, NEW),
    ("GET", f"{USERS}/{{id}}", None),
    ("PATCH", f"{USERS}/{{id}}", {"role": "owner"}),
    ("DELETE", f"{USERS}/{{id}}", None),
    ("GET", f"{USERS}/{{id}}/sessions", None),
    ("DELETE", f"{USERS}/{{id}}/sessions", None),
    ("POST", f"{USERS}/{{id}}/password-reset", None),
    ("GET", "/api/invitations", None),
    ("POST", "/api/invitations", {"role": "owner"}),
    ("DELETE", "/api/invitations/{id}", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ADMIN_ROUTES)
async def test_members_are_refused_alike(service: Service, method: str, path: str, body: object) -> None:
    ann, caller = add_person(service), add_person(service)
    row, (users, _) = user_row(service.url, ann.id), counts(service.url)
    answers = [
        await service.client.request(method, path.format(id=user_id), json=body, headers=caller.headers)
        for user_id in (ann.id, caller.id, 2_000_000_000)
    ]
    assert {answer.status_code for answer in answers} == {403}
    assert answers[0].headers["www-authenticate"] == insufficient("admin")
    assert without_request_id(answers[0]) == without_request_id(answers[2])
    assert ann.email not in answers[0].text
    assert (user_row(service.url, ann.id), counts(service.url)[0]) == (row, users)


@pytest.mark.parametrize(("method", "path", "body"), ADMIN_ROUTES)
async def test_so_is_an_owners_token_without_the_scope(service: Service, method: str, path: str, body: object) -> None:
    owner = add_person(service, role="owner")
    script = bearer(add_token(service.url, owner.id, ["read", "write"]))
    answer = await service.client.request(method, path.format(id=owner.id), json=body, headers=script)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (403, insufficient("admin"))
    (event,) = events(service.url, owner.id)
    assert (event["action_type"], event["actor_kind"]) == ("permission_denied", "api_token")


@pytest.mark.parametrize(("method", "path"), [("DELETE", ""), ("POST", "/password-reset")])
async def test_an_owners_token_does_not_do_to_its_owner_what_needs_a_session(
    service: Service, method: str, path: str
) -> None:
    owner, other = add_person(service, role="owner"), add_person(service)
    script = bearer(add_token(service.url, owner.id, ["read", "write", "admin"]))
    answer = await service.client.request(method, f"{USERS}/{owner.id}{path}", headers=script)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (403, insufficient("issue"))
    (event,) = trail(service.url, answer)
    assert (event["action_type"], event["details"]) == ("permission_denied", {"reason": "insufficient_scope"})
    assert (event["user_id"], event["actor_id"], event["actor_kind"]) == (owner.id, owner.id, "api_token")
    assert (await service.client.request(method, f"{USERS}/{other.id}{path}", headers=script)).is_success
