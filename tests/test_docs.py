"""The interactive documentation of the whole service, for somebody without internet."""

import re

import httpx
import pytest

pytestmark = pytest.mark.anyio

EXTERNAL = re.compile(r"https?:|[\"'(]//")


async def test_the_page_loads_nothing_from_elsewhere(anonymous: httpx.AsyncClient) -> None:
    page = await anonymous.get("/docs")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert not EXTERNAL.search(page.text)
    addresses = re.findall(r"(?:href|src)=\"([^\"]+)\"", page.text)
    assert {address.rpartition(".")[2] for address in addresses} == {"css", "js", "png"}
    for address in addresses:
        assert address.startswith("/docs/assets/")
        asset = await anonymous.get(address)
        assert (asset.status_code, len(asset.content) > 500) == (200, True)


async def test_the_page_finds_the_document(anonymous: httpx.AsyncClient) -> None:
    page = (await anonymous.get("/docs")).text
    (address,) = re.findall(r"url: '([^']+)'", page)
    document = await anonymous.get(address)
    assert document.status_code == 200
    assert not EXTERNAL.search(document.text)


async def test_authorize_takes_a_pasted_token_or_a_password(anonymous: httpx.AsyncClient) -> None:
    schemes = (await anonymous.get("/openapi.json")).json()["components"]["securitySchemes"]
    assert schemes.keys() == {"bearer", "password"}
    assert (schemes["bearer"]["type"], schemes["bearer"]["scheme"]) == ("http", "bearer")
    assert (schemes["password"]["type"], schemes["password"]["flows"].keys()) == ("oauth2", {"password"})
    assert all(scheme["description"] for scheme in schemes.values())


@pytest.mark.parametrize("path", ["/", "/redoc", "/docs/oauth2-redirect", "/api/docs"])
async def test_there_is_no_other_page(anonymous: httpx.AsyncClient, path: str) -> None:
    assert (await anonymous.get(path)).status_code == 404
