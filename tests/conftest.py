"""What all tests share: a PostgreSQL server, a database of their own, and the service over it."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support import postgres
from tests.support.identity import Service, fresh_service
from tests.support.service import bearer, data_folder, folder_of_folders, in_process, settings_for


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


SHARED_FOLDER = "TRADING_BACKEND_TESTS"


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder that all processes of this run share.

    It is none of pytest's own: another run of the same user may take those away, or the right to enter them.
    """
    if not hasattr(config, "workerinput"):
        os.environ[SHARED_FOLDER] = tempfile.mkdtemp(prefix="trading-backend-tests-", dir=folder_of_folders())


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        folder = Path(os.environ.pop(SHARED_FOLDER))
        postgres.drop_template(folder / "template")
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """One folder for all processes of this run."""
    return Path(os.environ[SHARED_FOLDER])


@pytest.fixture(scope="session")
def server_url(shared_folder: Path) -> Iterator[str]:
    """A server on which tests may create databases."""
    with postgres.server(shared_folder / "server") as url:
        yield url


@pytest.fixture(scope="session")
def template(server_url: str, shared_folder: Path) -> str:
    return postgres.template(server_url, shared_folder / "template")


@pytest.fixture
def clone_url(server_url: str, template: str) -> Iterator[str]:
    """A database of the test's own, at head and empty."""
    with postgres.database(server_url, like=template) as url:
        yield url


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A DATA_DIR that is not there yet; what still runs in it at the end is killed."""
    with data_folder() as folder:
        yield folder


@pytest.fixture
def empty_url(server_url: str) -> Iterator[str]:
    """A database of the test's own, without any table."""
    with postgres.database(server_url) as url:
        yield url


@pytest.fixture
async def anonymous(clone_url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the running service that presents no credential."""
    async with in_process(settings_for(clone_url, tmp_path)) as client:
        yield client


@pytest.fixture
async def mvp(anonymous: httpx.AsyncClient) -> httpx.AsyncClient:
    """The same client, presenting the MVP token."""
    anonymous.headers.update(bearer())
    return anonymous


@pytest.fixture(scope="module")
async def service(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """Shared by a module's tests, none of which changes what the others rely on."""
    async with fresh_service(server_url, template, tmp_path_factory.mktemp("data")) as service:
        yield service
