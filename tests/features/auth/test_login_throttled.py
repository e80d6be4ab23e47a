"""Who fails too often has to wait; whoever the account belongs to has not, and nobody learns who has one."""

import asyncio
from collections import Counter

import httpx
import pytest

from tests.support.accounts import PASSWORD, add_account, password_of, refusal, sign_in, trail
from tests.support.identity import execute, without_request_id
from tests.support.service import bearer

pytestmark = pytest.mark.anyio

HOME, CAFE, LAIR = "192.0.2.1", "198.51.100.7", "203.0.113.9"
FREE, FREE_FOR_A_NETWORK = 5, 20
TOO_MANY = (429, "too_many_attempts")


@pytest.fixture
def ann(client: httpx.AsyncClient, url: str) -> int:
    """Somebody who has not signed in before."""
    execute(url, "DELETE FROM users WHERE email = 'ann@example.test'")
    return add_account(url, "ann@example.test", username="ann")


async def attempt(client: httpx.AsyncClient, address: str, name: str, password: str = "wrong") -> httpx.Response:
    body = {"username": name, "password": password}
    return await client.post("/api/auth/login", json=body, headers={"X-Forwarded-For": address})


async def fail(client: httpx.AsyncClient, address: str, name: str, times: int = FREE) -> None:
    for _ in range(times):
        assert (await attempt(client, address, name)).status_code == 401


class TestAnAccount:
    @pytest.mark.parametrize("name", ["ann", "nobody"])
    async def test_after_the_free_attempts_waits(self, client: httpx.AsyncClient, ann: int, name: str) -> None:
        await fail(client, LAIR, name)
        for address, password in ((LAIR, "wrong"), (LAIR, PASSWORD), (CAFE, PASSWORD)):
            answer = await attempt(client, address, name, password)
            assert refusal(answer) == TOO_MANY
            assert 1 <= int(answer.headers["retry-after"]) <= 30

    async def test_looks_the_same_whether_it_exists_or_not(self, client: httpx.AsyncClient, ann: int) -> None:
        seen = {"ann": [], "nobody": []}  # type: dict[str, list[object]]
        for _ in range(FREE + 2):
            for name, answers in seen.items():
                headers, body = without_request_id(await attempt(client, LAIR, name))
                headers.pop("retry-after", None)
                body["detail"] = str(body["detail"]).partition(" in ")[0]
                answers.append((headers, body))
        assert seen["ann"] == seen["nobody"]

    async def test_is_one_however_its_name_is_typed(self, client: httpx.AsyncClient, ann: int) -> None:
        for name in ("ann", "ANN", "Ann", "aNN", "ａnn"):  # noqa: RUF001 - the point
            await fail(client, LAIR, name, 1)
        assert refusal(await attempt(client, LAIR, "ann", PASSWORD)) == TOO_MANY

    @pytest.mark.parametrize("name", ["ann", "zoe"])
    async def test_does_not_tell_that_two_names_are_its(self, client: httpx.AsyncClient, ann: int, name: str) -> None:
        await fail(client, LAIR, f"{name}@example.test")
        await fail(client, LAIR, name)
        for each in (name, f"{name}@example.test"):
            assert refusal(await attempt(client, LAIR, each)) == TOO_MANY

    async def test_that_does_not_exist_is_one_too(self, client: httpx.AsyncClient) -> None:
        for name in ("straße", "STRASSE", "Strasse", "STRAẞE", "strasse"):
            await fail(client, LAIR, name, 1)
        assert refusal(await attempt(client, LAIR, "straße")) == TOO_MANY

    async def test_a_success_forgets_the_failures(self, client: httpx.AsyncClient, ann: int) -> None:
        await fail(client, LAIR, "ann", FREE - 1)
        assert (await attempt(client, LAIR, "ann", PASSWORD)).status_code == 200
        await fail(client, LAIR, "ann")
        assert refusal(await attempt(client, LAIR, "ann")) == TOO_MANY

    async def test_when_the_wait_is_over(self, client: httpx.AsyncClient, url: str, ann: int) -> None:
        await fail(client, LAIR, "ann")
        assert refusal(await attempt(client, LAIR, "ann", PASSWORD)) == TOO_MANY
        execute(url, "UPDATE throttled_keys SET blocked_until = blocked_until - interval '30 seconds'")
        await fail(client, LAIR, "ann", 1)
        answer = await attempt(client, LAIR, "ann", PASSWORD)
        assert (answer.status_code, 30 < int(answer.headers["retry-after"]) <= 60) == (429, True)
        execute(url, "UPDATE throttled_keys SET blocked_until = blocked_until - interval '60 seconds'")
        assert (await attempt(client, LAIR, "ann", PASSWORD)).status_code == 200

    async def test_many_at_once_are_no_way_around_it(self, client: httpx.AsyncClient, ann: int) -> None:
        answers = await asyncio.gather(*(attempt(client, LAIR, "ann", f"wrong-{n}") for n in range(20)))
        seen = Counter(answer.status_code for answer in answers)
        assert seen[401] <= FREE
        assert set(seen) <= {401, 429, 503}
        assert seen[429] >= 20 - FREE - seen[503]

    async def test_the_token_endpoint_is_no_way_around_it(self, client: httpx.AsyncClient, ann: int) -> None:
        client.headers["X-Forwarded-For"] = LAIR
        form = {"grant_type": "password", "username": "ann", "password": "wrong"}
        for _ in range(FREE):
            answer = await client.post("/api/auth/token", data=form)
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
        answer = await client.post("/api/auth/token", data=form | {"password": PASSWORD})
        del client.headers["X-Forwarded-For"]
        assert (answer.status_code, answer.json()["error"]) == (429, "slow_down")
        assert 1 <= int(answer.headers["retry-after"]) <= 30
        assert refusal(await attempt(client, LAIR, "ann", PASSWORD)) == TOO_MANY


class TestTheOwner:
    """Comes from where the account has signed in before, and is not shut out by others."""

    async def test_gets_through_while_somebody_else_fails(self, client: httpx.AsyncClient, ann: int) -> None:
        assert (await attempt(client, HOME, "ann", PASSWORD)).status_code == 200
        await fail(client, LAIR, "ann")
        assert refusal(await attempt(client, LAIR, "ann", PASSWORD)) == TOO_MANY
        await fail(client, HOME, "ann", FREE - 1)
        assert (await attempt(client, HOME, "ann", PASSWORD)).status_code == 200
        assert refusal(await attempt(client, LAIR, "ann", PASSWORD)) == TOO_MANY

    async def test_has_limits_too(self, client: httpx.AsyncClient, ann: int) -> None:
        assert (await attempt(client, HOME, "ann", PASSWORD)).status_code == 200
        await fail(client, HOME, "ann")
        assert refusal(await attempt(client, HOME, "ann", PASSWORD)) == TOO_MANY

    async def test_is_spared_with_a_new_password_too(self, client: httpx.AsyncClient, ann: int) -> None:
        token = (await attempt(client, HOME, "ann", PASSWORD)).json()["access_token"]
        await fail(client, LAIR, "ann")
        new = password_of("new")
        body, headers = {"current_password": PASSWORD, "new_password": new}, {"X-Forwarded-For": CAFE}
        answer = await client.put("/api/users/me/password", json=body, headers=headers | bearer(token))
        assert answer.status_code == 204
        await fail(client, LAIR, "ann")
        assert refusal(await attempt(client, LAIR, "ann", new)) == TOO_MANY
        assert (await attempt(client, HOME, "ann", new)).status_code == 200

    async def test_is_not_known_where_others_signed_in(self, client: httpx.AsyncClient, url: str, ann: int) -> None:
        add_account(url, "bob@example.test")
        assert (await attempt(client, CAFE, "bob@example.test", PASSWORD)).status_code == 200
        await fail(client, LAIR, "ann")
        assert refusal(await attempt(client, CAFE, "ann", PASSWORD)) == TOO_MANY

    async def test_is_not_known_by_an_attempt(self, client: httpx.AsyncClient, url: str, ann: int) -> None:
        await fail(client, HOME, "ann", 1)
        assert execute(url, "SELECT * FROM known_addresses WHERE user_id = :id", id=ann) == []


class TestANetwork:
    async def test_that_tries_many_who_have_been_there_waits_for_others(
        self, client: httpx.AsyncClient, url: str, ann: int
    ) -> None:
        names = [f"been-there-{number}@example.test" for number in range(FREE_FOR_A_NETWORK // FREE)]
        for name in names:
            add_account(url, name)
            assert (await attempt(client, LAIR, name, PASSWORD)).status_code == 200
        for name in names:
            await fail(client, LAIR, name)
        assert refusal(await attempt(client, LAIR, "ann", PASSWORD)) == TOO_MANY

    async def test_that_tries_many_names_waits(self, client: httpx.AsyncClient, ann: int) -> None:
        for number in range(FREE_FOR_A_NETWORK):
            await fail(client, LAIR, f"name-{number}", 1)
        assert refusal(await attempt(client, LAIR, "ann", PASSWORD)) == TOO_MANY
        assert (await attempt(client, CAFE, "ann", PASSWORD)).status_code == 200

    async def test_an_account_of_ones_own_washes_nothing_clean(
        self, client: httpx.AsyncClient, url: str, ann: int
    ) -> None:
        for number in range(FREE_FOR_A_NETWORK - 1):
            await fail(client, LAIR, f"name-{number}", 1)
        assert (await attempt(client, LAIR, "ann", PASSWORD)).status_code == 200
        await fail(client, LAIR, "name", 1)
        assert refusal(await attempt(client, LAIR, "other")) == TOO_MANY

    async def test_is_64_bits_of_an_ipv6_address(self, client: httpx.AsyncClient) -> None:
        for number in range(FREE_FOR_A_NETWORK):
            await fail(client, f"2001:db8::{number:x}", f"name-{number}", 1)
        assert refusal(await attempt(client, "2001:db8::ffff:1", "name")) == TOO_MANY
        assert (await attempt(client, "2001:db8:0:1::1", "name")).status_code == 401

    async def test_is_what_the_trusted_proxy_saw(self, client: httpx.AsyncClient) -> None:
        """What the client itself writes in front is not looked at."""
        for number in range(FREE_FOR_A_NETWORK):
            await fail(client, f"10.0.0.{number}, {LAIR}", f"name-{number}", 1)
        assert refusal(await attempt(client, f"10.9.9.9, {LAIR}", "name")) == TOO_MANY

    async def test_cannot_be_made_up_without_a_proxy(self, anonymous: httpx.AsyncClient) -> None:
        for number in range(FREE_FOR_A_NETWORK):
            await fail(anonymous, f"10.0.0.{number}", f"name-{number}", 1)
        assert refusal(await attempt(anonymous, "10.9.9.9", "name")) == TOO_MANY


async def test_a_refused_attempt_is_put_down_and_counts_nowhere(client: httpx.AsyncClient, url: str, ann: int) -> None:
    await fail(client, LAIR, "ann")
    counted = execute(url, "SELECT * FROM throttled_keys ORDER BY key")
    (row,) = trail(url, await attempt(client, LAIR, "ann", password_of("typed")))
    assert (row["action_type"], row["user_id"], row["actor_id"]) == ("sign_in_throttled", ann, None)
    assert (row["ip_address"], row["details"]) == (LAIR, {})
    assert execute(url, "SELECT * FROM throttled_keys ORDER BY key") == counted


async def test_clients_without_an_address_are_one(client: httpx.AsyncClient, url: str) -> None:
    """As behind a Unix socket."""
    transport = client._transport  # noqa: SLF001
    assert isinstance(transport, httpx.ASGITransport)
    nowhere = httpx.ASGITransport(transport.app, client=("", 0))
    async with httpx.AsyncClient(transport=nowhere, base_url="http://test") as other:
        assert (await sign_in(other, "nobody", "wrong")).status_code == 401
    assert len(execute(url, "SELECT * FROM throttled_keys")) == 2
