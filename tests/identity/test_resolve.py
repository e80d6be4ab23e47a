"""Which tokens are good, and what their use leaves behind."""

from datetime import timedelta

import httpx
import pytest

from app.identity.resolve import resolve
from app.identity.tokens import mint
from app.web.session import transaction
from tests.support.identity import (
    INVALID,
    Service,
    add_token,
    add_user,
    application,
    checkouts,
    execute,
    statements,
    without_request_id,
)
from tests.support.service import bearer

pytestmark = pytest.mark.anyio

ME = "/api/users/me"
HOUR = timedelta(hours=1)


async def me(service: Service, token: str) -> httpx.Response:
    return await service.client.get(ME, headers=bearer(token))


async def test_a_token_stands_for_its_user(service: Service) -> None:
    user_id = add_user(service.url, "ann@example.test")
    for token in (add_token(service.url, user_id), add_token(service.url, user_id, ["read"], expires_in=HOUR)):
        answer = await me(service, token)
        assert (answer.status_code, answer.json()["id"]) == (200, user_id)


async def test_every_refusal_is_the_same(service: Service) -> None:
    """It does not tell a guesser how close the guess was."""
    url = service.url
    user, inactive, deleted = (
        add_user(url, f"{name}@example.test", is_active=name != "inactive") for name in ("user", "inactive", "deleted")
    )
    tokens = {
        "unknown": mint().plain,
        "of another shape": "x" * 40,
        "mistyped": mint().plain[:-1] + "!",
        "expired": add_token(url, user, expires_in=-HOUR),
        "just expired": add_token(url, user, expires_in=timedelta()),
        "revoked": add_token(url, user, revoked=True),
        "revoked and expired": add_token(url, user, revoked=True, expires_in=-HOUR),
        "of an inactive user": add_token(url, inactive),
        "of a deleted user": add_token(url, deleted),
    }
    execute(url, "DELETE FROM users WHERE id = :id", id=deleted)
    answers = {name: await me(service, token) for name, token in tokens.items()}
    reference = without_request_id(answers["unknown"])
    assert {name: without_request_id(answer) for name, answer in answers.items()} == dict.fromkeys(tokens, reference)
    assert {answer.status_code for answer in answers.values()} == {401}
    assert reference[0]["www-authenticate"] == INVALID
    assert reference[1]["code"] == "invalid_token"
    uses = execute(
        url, "SELECT last_used_at FROM api_tokens WHERE user_id IN (:user, :other)", user=user, other=inactive
    )
    assert {row["last_used_at"] for row in uses} == {None}


async def test_a_mistyped_token_costs_no_query(service: Service) -> None:
    plain = mint().plain
    mistyped = [plain[:-1] + ("0" if plain[-1] != "0" else "1"), plain[:-1], plain + "0", plain.swapcase(), "tb_"]
    with statements() as executed, checkouts() as handed_out:
        assert {(await me(service, f"tb_{token.removeprefix('tb_')}")).status_code for token in mistyped} == {401}
    assert (executed, handed_out) == ([], [])


async def test_any_other_token_costs_one(service: Service) -> None:
    with statements() as executed:
        await me(service, mint().plain)
        await me(service, "x" * 40)
    assert len(executed) == 2


async def test_what_happens_to_a_user_counts_at_once(service: Service) -> None:
    user_id = add_user(service.url, "bob@example.test")
    token = add_token(service.url, user_id)
    for change, status in (
        ("UPDATE users SET is_active = false WHERE id = :id", 401),
        ("UPDATE users SET is_active = true WHERE id = :id", 200),
        ("UPDATE api_tokens SET scopes = '{}' WHERE user_id = :id", 403),
        ("UPDATE api_tokens SET scopes = '{read}' WHERE user_id = :id", 200),
        ("UPDATE api_tokens SET expires_at = timezone('utc', now()) WHERE user_id = :id", 401),
        ("UPDATE api_tokens SET expires_at = NULL WHERE user_id = :id", 200),
        ("DELETE FROM users WHERE id = :id", 401),
    ):
        execute(service.url, change, id=user_id)
        assert (change, (await me(service, token)).status_code) == (change, status)


@pytest.mark.parametrize("expires_in", [None, HOUR])
async def test_it_is_good_as_long_as_its_age_allows(service: Service, expires_in: timedelta | None) -> None:
    state = application(service.client).state
    user_id = add_user(service.url, f"{expires_in}@example.test")
    token = add_token(service.url, user_id, expires_in=expires_in)
    with transaction(state.engine) as session:
        lives_for = resolve(session, state.sessions, token).lives_for
    if expires_in is None:
        assert lives_for == float("inf")
    else:
        assert 3540 < lives_for <= 3600
