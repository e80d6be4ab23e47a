"""The interactive documentation needs nothing from elsewhere."""

import json
import re

import httpx
import pytest
from fastapi import FastAPI

from app.web.docs import install_docs

pytestmark = pytest.mark.anyio

EXTERNAL = re.compile(r"https?://|[\"'(]//")


@pytest.fixture(autouse=True)
def documented(app: FastAPI) -> None:
    @app.get("/thing")
    async def thing() -> None: ...

    install_docs(app)


def addresses(page: str) -> list[str]:
    return re.findall(r"(?:href|src)=\"([^\"]+)\"", page)


async def test_the_page_and_all_it_loads_come_from_here(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert not EXTERNAL.search(page.text)
    types = {}
    for address in addresses(page.text):
        answer = await client.get(address)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=86400"
        assert answer.headers["x-content-type-options"] == "nosniff"
        types[address] = answer.headers["content-type"].partition(";")[0]
    assert types == {
        "/docs/assets/swagger-ui.css": "text/css",
        "/docs/assets/swagger-ui-bundle.js": "text/javascript",
        "/docs/assets/favicon.png": "image/png",
    }


async def test_the_page_leads_to_the_document(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    assert "url: '/openapi.json'" in page
    assert '"persistAuthorization": false' in page
    assert '"validatorUrl": null' in page
    document = await client.get("/openapi.json")
    assert set(document.json()["paths"]) == {"/thing"}
    assert not EXTERNAL.search(json.dumps(document.json()))


async def test_the_style_sheet_loads_nothing(client: httpx.AsyncClient) -> None:
    style = (await client.get("/docs/assets/swagger-ui.css")).text
    assert not re.search(r"@import|url\((?![\"']?data:)", style)


async def test_assets_are_not_sent_twice(client: httpx.AsyncClient) -> None:
    first = await client.get("/docs/assets/swagger-ui.css")
    again = await client.get("/docs/assets/swagger-ui.css", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/docs/assets/nothing.js", 404, "not_found"),
        ("GET", "/docs/assets/", 404, "not_found"),
        ("GET", "/docs/assets/%2e%2e/core.py", 404, "not_found"),
        ("GET", "/docs/assets/..%2fcore.py", 404, "not_found"),
        ("GET", "/docs/assets/a%00b", 404, "not_found"),
        ("GET", "/docs/assets/" + "a" * 5000, 404, "not_found"),
        ("POST", "/docs/assets/swagger-ui.css", 405, "method_not_allowed"),
    ],
)
async def test_what_is_not_there_is_a_problem(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code


async def test_below_a_root_path(app: FastAPI) -> None:
    transport = httpx.ASGITransport(app, root_path="/backend")
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
        page = await client.get("/backend/docs")
        assert "url: '/backend/openapi.json'" in page.text
        for address in addresses(page.text):
            assert address.startswith("/backend/docs/assets/")
            assert (await client.get(address)).status_code == 200
