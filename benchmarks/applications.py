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
