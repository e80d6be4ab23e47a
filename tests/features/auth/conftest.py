"""What the proofs of signing in share."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from app.features.auth import flows
from app.identity import hashing
from tests.support import postgres
from tests.support.identity import Service, execute
from tests.support.service import in_process, settings_for


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused sign-ins are answered without a wait."""
    monkeypatch.setattr(flows, "REFUSAL_TAKES", 0.001)


@pytest.fixture(scope="module", autouse=True)
def _cheap_hashes() -> Iterator[None]:
    """Argon2id as ever, but for the work that a guess costs."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"MEMORY": 64, "PASSES": 1}.items():
            patch.setattr(hashing, name, value)
        cheap = hashing._ARGON2ID.using(memory_cost=64, time_cost=1)  # type: ignore[no-untyped-call]  # noqa: SLF001
        patch.setattr(hashing, "_ARGON2ID", cheap)
        yield


@pytest.fixture(scope="module")
async def service(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """Shared by a module's tests; it believes its client's word on where a request comes from."""
    settings = {"trusted_proxies": "127.0.0.1"}
    with postgres.database(server_url, like=template) as url:
        async with in_process(settings_for(url, tmp_path_factory.mktemp("data"), **settings)) as client:
            yield Service(url, client)


@pytest.fixture
def client(service: Service) -> httpx.AsyncClient:
    """Somebody without a credential, at a time when nobody has failed to sign in."""
    execute(service.url, "DELETE FROM throttled_keys")
    return service.client


@pytest.fixture
def url(service: Service) -> str:
    """Of the service's database."""
    return service.url
