"""What the service is measured beside."""

from datetime import UTC, datetime
from typing import Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel


class Answer(BaseModel):
    status: Literal["ok"] = "ok"


def plain() -> FastAPI:
    """FastAPI, one empty endpoint, nothing else."""
    app = FastAPI()

    @app.get("/api/health")
    async def read_health() -> Answer:
        return Answer()

    return app


class User(BaseModel):
    """The fields of what the service answers to `GET /api/users/me`."""

    id: int = 1
    email: str = "floor@bench.test"
    username: str | None = None
    full_name: str | None = None
    role: str = "member"
    is_active: bool = True
    has_password: bool = False
    alpaca_account_id: str | None = None
    preferences: Any = {}
    created_at: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    updated_at: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    last_login_at: datetime | None = None


def floor() -> FastAPI:
    """What FastAPI costs at least: an endpoint that has nothing to do, and a response model."""
    app = FastAPI(telemetry={"tracing": False, "metrics": False, "logs": False})

    @app.get("/api/users/me")
    async def read_me() -> User:
        return User()

    return app


def unmigrated() -> FastAPI:
    """The service itself, but for the step that looks at the schema's revision."""
    from app import lifespan, main  # noqa: PLC0415 - the service must not be loaded where it is not measured

    vars(lifespan)["migrate"] = lambda *_, **__: None
    return main.create_app()


def behind_a_proxy() -> FastAPI:
    """The service, which believes this machine what address a client has."""
    from app import main  # noqa: PLC0415
    from app.core.settings import load_settings  # noqa: PLC0415

    return main.create_app(load_settings().model_copy(update={"trusted_proxies": ["127.0.0.1"]}))


def refusing_at_once() -> FastAPI:
    """The same, without the floor under the time of a refused sign-in."""
    from app.features.auth import flows  # noqa: PLC0415

    vars(flows)["REFUSAL_TAKES"] = 0.001
    return behind_a_proxy()
