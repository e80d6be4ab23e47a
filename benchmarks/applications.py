"""What the service is measured beside."""

from typing import Literal

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


def unmigrated() -> FastAPI:
    """The service itself, but for the step that looks at the schema's revision."""
    from app import lifespan, main  # noqa: PLC0415 - the service must not be loaded where it is not measured

    vars(lifespan)["migrate"] = lambda *_, **__: None
    return main.create_app()


def refusing() -> FastAPI:
    """The service, which believes this machine what address a client has."""
    from app import main  # noqa: PLC0415
    from app.core.settings import load_settings  # noqa: PLC0415

    return main.create_app(load_settings().model_copy(update={"trusted_proxies": ["127.0.0.1"]}))


def refusing_at_once() -> FastAPI:
    """The same, without the floor under the time of a refused sign-in."""
    from app.features.auth import flows  # noqa: PLC0415

    vars(flows)["REFUSAL_TAKES"] = 0.001
    return refusing()
