from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core.settings import Settings
from app.web.access_log import access_log
from app.web.middleware import install_middleware
from app.web.problems import install_problem_handlers
from tests.web.support import MakeApp


@pytest.fixture(autouse=True)
def _no_lines_of_tests_before() -> None:
    access_log.write()


@pytest.fixture
def make_app(monkeypatch: pytest.MonkeyPatch) -> MakeApp:
    """Make an app of the web layer alone, with the settings given."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)

    def make(**settings: Any) -> FastAPI:
        app = FastAPI(title="Small", docs_url=None, redoc_url=None)
        install_problem_handlers(app)
        install_middleware(app, Settings(_env_file=None, **settings))
        return app

    return make


@pytest.fixture
def app(make_app: MakeApp) -> FastAPI:
    return make_app()


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
        yield client
