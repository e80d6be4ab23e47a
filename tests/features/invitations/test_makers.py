"""An invitation is as good as its maker: it goes when that one ceases to be an owner, or goes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, RowMapping, text

from app.db.engine import connect, make_engine
from app.identity import one_time
from app.identity.accounts import NewUser, create_user
from app.web.session import transaction
from tests.features.users.support import ME, OWNER, USERS, Person, add_person, refusal
from tests.support.accounts import PASSWORD, invite, trail
from tests.support.identity import Service, execute

pytestmark = pytest.mark.anyio

URL = "/api/invitations"
DEMOTE, DEACTIVATE, DELETE = {"role": "member"}, {"is_active": False}, None
WAYS_OUT = [DEMOTE, DEACTIVATE, DEMOTE | DEACTIVATE, DELETE]


@pytest.fixture
def maker(service: Service) -> Person:
    return add_person(service, role="owner")


@pytest.fixture
def engine(service: Service) -> Iterator[Engine]:
    engine = make_engine(service.url)
    yield engine
    engine.dispose()


async def act(
    service: Service, maker: Person, change: dict[str, Any] | None, headers: dict[str, str] = OWNER
) -> httpx.Response:
    method = "DELETE" if change is None else "PATCH"
    return await service.client.request(method, f"{USERS}/{maker.id}", json=change, headers=headers)


async def register(service: Service, token: str, email: str) -> httpx.Response:
    body = {"email": email, "password": PASSWORD, "invitation": token}
    return await service.client.post("/api/auth/register", json=body)


def made(url: str) -> dict[str, Any]:
    """The newest invitation."""
    (row,) = execute(url, "SELECT * FROM invitations ORDER BY id DESC LIMIT 1")
    return dict(row)


def revocations(url: str, invitation_id: int) -> list[RowMapping]:
    return execute(
        url,
        "SELECT * FROM activity_log WHERE action_type = 'invitation_revoked' AND resource_type = 'invitation' "
        "AND resource_id = :id",
        id=invitation_id,
    )


@asynccontextmanager
async def meanwhile(url: str, request: Any) -> AsyncIterator[asyncio.Task[httpx.Response]]:
    """The request, which waits for a lock by now."""
    task = asyncio.create_task(request)
    waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(10):
        while not execute(url, waiting):
            assert not task.done(), task.result().text
            await asyncio.sleep(0.01)
    yield task


@pytest.mark.parametrize("change", WAYS_OUT)
@pytest.mark.parametrize("by_themselves", [True, False])
async def test_it_goes_with_its_maker(
    service: Service, maker: Person, change: dict[str, Any] | None, by_themselves: bool
) -> None:
    token = await invite(service.client, maker.headers, "owner", email=f"back{maker.id}@example.test")
    invitation = made(service.url)
    answer = await act(service, maker, change, maker.headers if by_themselves else OWNER)
    assert answer.status_code in {200, 204}
    answer = await register(service, token, f"back{maker.id}@example.test")
    assert refusal(answer) == (403, "invalid_invitation")
    (event,) = revocations(service.url, invitation["id"])
    assert event["actor_id"] == (maker.id if by_themselves else 1)
    assert event["details"] == {"role": "owner", "email": f"back{maker.id}@example.test"}
    assert made(service.url)["revoked_at"] is not None
    if change:
        await act(service, maker, {"role": "owner", "is_active": True})
        assert refusal(await register(service, token, f"back{maker.id}@example.test")) == (403, "invalid_invitation")


async def test_what_is_over_is_left_as_it_is(service: Service, maker: Person) -> None:
    used, expired = [await invite(service.client, maker.headers) for _ in range(2)]
    assert (await register(service, used, f"used{maker.id}@example.test")).status_code == 201
    execute(
        service.url,
        "UPDATE invitations SET expires_at = created_at WHERE secret_hash = sha256(:token)",
        token=expired.encode(),
    )
    before = execute(service.url, "SELECT * FROM invitations ORDER BY id")
    await act(service, maker, DEMOTE)
    assert execute(service.url, "SELECT * FROM invitations ORDER BY id") == before


@pytest.mark.parametrize("change", [{"full_name": "Ann"}, {"role": "owner", "is_active": True}])
async def test_it_stays_with_an_owner_who_stays_one(service: Service, maker: Person, change: dict[str, Any]) -> None:
    token, other = await invite(service.client, maker.headers), await invite(service.client, OWNER)
    bystander = add_person(service, role="owner")
    await act(service, maker, change)
    await act(service, bystander, DEMOTE)
    for number, good in enumerate((token, other)):
        assert (await register(service, good, f"good{number}.{maker.id}@example.test")).status_code == 201


@pytest.mark.parametrize("change", [DEMOTE | {"email": "mvp@localhost"}, DEMOTE | {"username": "mvp"}])
async def test_it_stays_when_the_change_is_refused(service: Service, maker: Person, change: dict[str, Any]) -> None:
    token = await invite(service.client, maker.headers)
    assert (await act(service, maker, change)).status_code == 409
    assert revocations(service.url, made(service.url)["id"]) == []
    assert (await register(service, token, f"kept{maker.id}@example.test")).status_code == 201


class TestAtTheSameMoment:
    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE users SET role = 'member' WHERE id = :id",
            "UPDATE users SET is_active = false WHERE id = :id",
            "DELETE FROM users WHERE id = :id",
        ],
    )
    async def test_nobody_invites_who_ceases_to_be_an_owner(
        self, service: Service, maker: Person, statement: str
    ) -> None:
        await invite(service.client, maker.headers)
        newest = made(service.url)
        with connect(service.url) as other, other.begin():
            other.execute(text(statement), {"id": maker.id})
            request = service.client.post(URL, json={"role": "owner"}, headers=maker.headers)
            async with meanwhile(service.url, request) as inviting:
                pass
        assert refusal(await inviting) == (403, "insufficient_scope")
        assert made(service.url)["id"] == newest["id"]
        assert [row["action_type"] for row in trail(service.url, await inviting)] == ["permission_denied"]

    async def test_who_is_demoted_while_inviting_leaves_no_way_in(
        self, service: Service, maker: Person, engine: Engine
    ) -> None:
        with transaction(engine) as session:
            about: dict[str, Any] = {"role": "owner", "email": None, "lifetime": timedelta(hours=1)}
            _, minted = one_time.invite(session, **about, created_by=maker.id)
            async with meanwhile(service.url, act(service, maker, DEMOTE)) as demoting:
                session.commit()
        assert (await demoting).status_code == 200
        answer = await register(service, minted.plain, f"late{maker.id}@example.test")
        assert refusal(answer) == (403, "invalid_invitation")

    @pytest.mark.parametrize("change", WAYS_OUT)
    async def test_who_came_in_first_stays(
        self, service: Service, maker: Person, engine: Engine, change: dict[str, Any] | None
    ) -> None:
        token, email = await invite(service.client, maker.headers), f"first{maker.id}@example.test"
        with transaction(engine) as session:
            invitation = one_time.redeem(session, token, email)
            async with meanwhile(service.url, act(service, maker, change)) as leaving:
                invitation.used_by = create_user(session, NewUser(email=email)).id
                session.commit()
        assert (await leaving).status_code in {200, 204}
        assert (made(service.url)["used_by"], made(service.url)["revoked_at"]) == (invitation.used_by, None)

    async def test_they_do_not_wait_in_a_circle_for_one_address(
        self, service: Service, maker: Person, engine: Engine
    ) -> None:
        """Which the maker wants as well, on the way out."""
        token, email = await invite(service.client, maker.headers), f"both{maker.id}@example.test"
        with transaction(engine) as session:
            one_time.redeem(session, token, email)
            async with meanwhile(service.url, act(service, maker, DEMOTE | {"email": email})) as leaving:
                create_user(session, NewUser(email=email))
                session.commit()
        assert refusal(await leaving) == (409, "email_taken")
        assert (await service.client.get(ME, headers=maker.headers)).json()["role"] == "owner"
