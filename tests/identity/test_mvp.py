"""The MVP user and its token, from start to start."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import RowMapping
from sqlalchemy.orm import Session

from app.core.errors import StartupError
from app.db.engine import connect, make_engine
from app.identity.mvp import MvpState, ensure_mvp_user, mvp_state
from app.identity.tokens import hash_token, mint
from app.lifespan import started
from tests.support.identity import add_token, add_user, execute
from tests.support.service import MVP_TOKEN, bearer, in_process, settings_for

OTHER_TOKEN = "another-token-of-the-tests-9876543210-ZYXWVU"
ADDRESS = "mvp@localhost"


def ensure(url: str, token: str | None = MVP_TOKEN, email: str = ADDRESS) -> MvpState:
    with connect(url) as connection, Session(connection) as session, session.begin():
        return ensure_mvp_user(session, lambda: token, email)


def users(url: str) -> list[RowMapping]:
    return execute(url, "SELECT * FROM users ORDER BY id")


def tokens(url: str, where: str = "true") -> list[RowMapping]:
    return execute(url, f"SELECT *, revoked_at IS NULL AS alive FROM api_tokens WHERE {where} ORDER BY id")


def set_user(url: str, assignment: str) -> None:
    execute(url, f"UPDATE users SET {assignment}")


class TestFirstStart:
    def test_it_makes_one_user_and_one_token(self, clone_url: str) -> None:
        assert ensure(clone_url) is MvpState.OPEN
        (user,) = users(clone_url)
        assert (user["email"], user["username"], user["role"], user["is_active"]) == (ADDRESS, "mvp", "owner", True)
        assert (user["password_hash"], user["full_name"], user["preferences"]) == (None, None, {})
        (token,) = tokens(clone_url)
        assert (token["user_id"], token["name"], token["prefix"]) == (user["id"], "API_TOKEN", "API_TOKEN")
        assert bytes(token["secret_hash"]) == hash_token(MVP_TOKEN)
        assert (token["from_configuration"], token["alive"], token["expires_at"]) == (True, True, None)

    def test_it_can_be_repeated(self, clone_url: str) -> None:
        ensure(clone_url)
        before = users(clone_url), tokens(clone_url)
        for _ in range(3):
            assert ensure(clone_url) is MvpState.OPEN
        assert (users(clone_url), tokens(clone_url)) == before

    @pytest.mark.parametrize("same_token", [True, False])
    def test_concurrent_ones_agree(self, clone_url: str, same_token: bool) -> None:
        replicas = 6
        barrier = Barrier(replicas)
        engine = make_engine(clone_url)

        def start(number: int) -> MvpState:
            with Session(engine) as session, session.begin():
                session.connection()
                barrier.wait(10)
                return ensure_mvp_user(session, lambda: MVP_TOKEN if same_token else f"{OTHER_TOKEN}-{number}", ADDRESS)

        with ThreadPoolExecutor(replicas) as pool:
            states = list(pool.map(start, range(replicas)))
        engine.dispose()
        assert set(states) == {MvpState.OPEN}
        assert len(users(clone_url)) == 1
        assert len(tokens(clone_url, "revoked_at IS NULL")) == 1
        assert len(tokens(clone_url)) == (1 if same_token else replicas)

    @pytest.mark.parametrize("taken", ["mvp", "MVP", "Mvp"])
    def test_its_username_may_be_taken(self, clone_url: str, taken: str) -> None:
        other = add_user(clone_url, "somebody@example.test")
        execute(clone_url, "UPDATE users SET username = :taken", taken=taken)
        ensure(clone_url)
        first, second = users(clone_url)
        assert (first["id"], first["username"], first["role"]) == (other, taken, "member")
        assert (second["email"], second["username"], second["role"]) == (ADDRESS, None, "owner")

    def test_it_takes_the_address_from_the_configuration(self, clone_url: str) -> None:
        ensure(clone_url, email="Founder@Example.test")
        assert [user["email"] for user in users(clone_url)] == ["Founder@Example.test"]


class TestAnExistingUser:
    @pytest.mark.parametrize("password_hash", [None, ""])
    def test_one_with_the_address_and_no_password_becomes_it(self, clone_url: str, password_hash: str | None) -> None:
        user_id = add_user(clone_url, "Founder@example.test", role="personal_only")
        execute(clone_url, "UPDATE users SET password_hash = :password_hash", password_hash=password_hash)
        assert ensure(clone_url, email="founder@EXAMPLE.test") is MvpState.OPEN
        (user,) = users(clone_url)
        assert (user["id"], user["email"], user["role"]) == (user_id, "Founder@example.test", "owner")
        assert [token["user_id"] for token in tokens(clone_url)] == [user_id]

    def test_it_stays_the_same_when_its_address_changes(self, clone_url: str) -> None:
        ensure(clone_url)
        set_user(clone_url, "email = 'me@example.test', role = 'member', full_name = 'Me'")
        ensure(clone_url, OTHER_TOKEN, "elsewhere@example.test")
        (user,) = users(clone_url)
        assert (user["email"], user["role"], user["full_name"]) == ("me@example.test", "member", "Me")
        assert {token["user_id"] for token in tokens(clone_url)} == {user["id"]}

    def test_it_is_made_anew_when_it_was_deleted(self, clone_url: str) -> None:
        ensure(clone_url)
        execute(clone_url, "DELETE FROM users")
        assert ensure(clone_url) is MvpState.OPEN
        assert (len(users(clone_url)), len(tokens(clone_url))) == (1, 1)

    def test_one_with_a_password_is_claimed(self, clone_url: str) -> None:
        add_user(clone_url, ADDRESS)
        set_user(clone_url, "password_hash = '$2b$12$x'")
        before = users(clone_url)
        assert ensure(clone_url) is MvpState.CLAIMED
        assert (users(clone_url), tokens(clone_url)) == (before, [])


class TestClaimed:
    @pytest.fixture
    def claimed_url(self, clone_url: str) -> str:
        ensure(clone_url)
        set_user(clone_url, "password_hash = '$argon2id$x', email = 'me@example.test'")
        return clone_url

    @pytest.mark.parametrize("token", [MVP_TOKEN, OTHER_TOKEN, "tb_mistyped", None])
    def test_it_stays_so_whatever_the_configuration_says(self, claimed_url: str, token: str | None) -> None:
        before = users(claimed_url)
        for email in (ADDRESS, "me@example.test", "elsewhere@example.test"):
            assert ensure(claimed_url, token, email) is MvpState.CLAIMED
        assert users(claimed_url) == before
        assert len(tokens(claimed_url)) == 1

    def test_its_token_is_retired(self, claimed_url: str) -> None:
        ensure(claimed_url)
        assert [token["alive"] for token in tokens(claimed_url)] == [False]
        with connect(claimed_url) as connection, Session(connection) as session:
            assert mvp_state(session) is MvpState.CLAIMED

    def test_its_api_tokens_are_not(self, claimed_url: str) -> None:
        (user,) = users(claimed_url)
        add_token(claimed_url, user["id"])
        ensure(claimed_url)
        assert [token["alive"] for token in tokens(claimed_url, "NOT from_configuration")] == [True]

    @pytest.mark.anyio
    async def test_the_token_is_refused_over_http(
        self, claimed_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with in_process(settings_for(claimed_url, tmp_path)) as client:
            assert (await client.get("/api/users/me", headers=bearer())).status_code == 401
        assert "API_TOKEN opens nothing new" in caplog.text
        assert MVP_TOKEN not in caplog.text

    @pytest.mark.anyio
    async def test_no_token_is_made_up_where_nobody_needs_it(
        self, claimed_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with in_process(settings_for(claimed_url, tmp_path / "data", api_token=None)):
            assert not (tmp_path / "data" / "api_token").exists()
        assert "API_TOKEN" not in caplog.text


@pytest.mark.anyio
class TestRotation:
    @staticmethod
    async def serve(url: str, folder: Path, token: str, *presented: str) -> list[Any]:
        """The ids `/api/users/me` gives for each token presented to a service with this API_TOKEN, or the status."""
        async with in_process(settings_for(url, folder, api_token=token)) as client:
            answers = [await client.get("/api/users/me", headers=bearer(each)) for each in presented]
        return [answer.json()["id"] if answer.status_code == 200 else answer.status_code for answer in answers]

    async def test_a_changed_token_replaces_the_old_one_and_back(self, clone_url: str, tmp_path: Path) -> None:
        assert await self.serve(clone_url, tmp_path, MVP_TOKEN, MVP_TOKEN, OTHER_TOKEN) == [1, 401]
        script = add_token(clone_url, 1, ["read"])
        for _ in range(2):
            assert await self.serve(clone_url, tmp_path, OTHER_TOKEN, MVP_TOKEN, OTHER_TOKEN, script) == [401, 1, 1]
            assert await self.serve(clone_url, tmp_path, MVP_TOKEN, MVP_TOKEN, OTHER_TOKEN, script) == [1, 401, 1]
        assert [row["alive"] for row in tokens(clone_url, "from_configuration")] == [True, False]

    async def test_a_token_of_our_own_shape_is_as_good(self, clone_url: str, tmp_path: Path) -> None:
        token = mint().plain
        assert await self.serve(clone_url, tmp_path, token, token) == [1]
        assert [row["prefix"] for row in tokens(clone_url)] == ["API_TOKEN"]

    async def test_a_deactivated_mvp_user_is_refused(
        self, clone_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        ensure(clone_url)
        set_user(clone_url, "is_active = false")
        assert await self.serve(clone_url, tmp_path, MVP_TOKEN, MVP_TOKEN) == [401]
        assert "is deactivated: API_TOKEN is refused" in caplog.text
        set_user(clone_url, "is_active = true")
        assert await self.serve(clone_url, tmp_path, MVP_TOKEN, MVP_TOKEN) == [1]


def none(url: str) -> None:
    """Production does not make one up."""


def cut_short(url: str) -> str:
    return mint().plain[:-1]


def mistyped(url: str) -> str:
    return mint().plain[:-6] + "aBc123"


def taken_by_another(url: str) -> str:
    return add_token(url, add_user(url, "other@example.test"))


def revoked_of_another(url: str) -> str:
    return add_token(url, add_user(url, "other@example.test"), revoked=True)


class TestRefused:
    @pytest.mark.parametrize(
        ("choose", "sentence"),
        [
            (none, "API_TOKEN must be set until the MVP user has a password: run `openssl rand -hex 32`."),
            (cut_short, "API_TOKEN begins with tb_ but its checksum is wrong"),
            (mistyped, "API_TOKEN begins with tb_ but its checksum is wrong"),
            (taken_by_another, "API_TOKEN is already API token 1 of user 1: use another value."),
            (revoked_of_another, "API_TOKEN is already API token 1 of user 1: use another value."),
        ],
    )
    def test_the_start_says_why_and_leaves_nothing(
        self, clone_url: str, tmp_path: Path, choose: Callable[[str], str | None], sentence: str
    ) -> None:
        token = choose(clone_url)
        before = users(clone_url), tokens(clone_url)
        settings = settings_for(
            clone_url,
            tmp_path,
            app_env="production",
            api_token=token,
            jwt_secret="q7Zp2mXv9Lr4Tn8Wb3Kd6Hs1Jf5Gy0Ca",
        )
        with pytest.raises(StartupError) as refusal, started(settings):
            pytest.fail("it started")
        assert str(refusal.value).startswith(sentence)
        assert token is None or token not in str(refusal.value)
        assert (users(clone_url), tokens(clone_url)) == before


def test_a_start_does_not_wait_for_a_locked_table_without_end(
    clone_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.identity.mvp.LOCK_TIMEOUT", "300ms")
    with connect(clone_url) as other:
        other.exec_driver_sql("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StartupError, match="Somebody kept a lock"), started(settings_for(clone_url, tmp_path)):
            pass
