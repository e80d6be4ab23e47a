from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from tests.support import postgres
from tests.support.identity import add_user, execute
from tests.support.throttle import replica


@pytest.fixture(scope="module")
def shared_url(server_url: str, template: str) -> Iterator[str]:
    with postgres.database(server_url, like=template) as url:
        yield url


@pytest.fixture
def url(shared_url: str) -> str:
    """A database in which nobody has failed yet."""
    execute(shared_url, "DELETE FROM throttled_keys; DELETE FROM users")
    return shared_url


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    with replica(url) as engine:
        yield engine


@pytest.fixture
def ann(url: str) -> int:
    return add_user(url, "ann@example.test")
