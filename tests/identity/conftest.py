from collections.abc import AsyncIterator

import pytest

from tests.support.identity import Service, fresh_service


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def service(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """Shared by a module's tests, none of which changes what the others rely on."""
    async with fresh_service(server_url, template, tmp_path_factory.mktemp("data")) as service:
        yield service
