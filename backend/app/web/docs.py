"""Interactive documentation that needs no internet: Swagger UI's own files are served from here."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles

DOCS = "/docs"
ASSETS = f"{DOCS}/assets"
ASSETS_MAX_AGE = 24 * 60 * 60
"""Seconds."""


class _Assets(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = f"public, max-age={ASSETS_MAX_AGE}"
        return response


def install_docs(app: FastAPI, *, remember_token: bool = False) -> None:
    """Serve the page at /docs for an app made with `docs_url=None, redoc_url=None`.

    `remember_token` keeps what was given to Authorize in the browser's storage. Call it after every router is
    included: the mount ends the search of all paths below /docs/assets.
    """

    @app.get(DOCS, include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "").rstrip("/")
        return get_swagger_ui_html(
            openapi_url=f"{root}{app.openapi_url}",
            title=app.title,
            swagger_js_url=f"{root}{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{root}{ASSETS}/favicon.png",
            swagger_ui_parameters={
                "persistAuthorization": remember_token,
                # Without this the page of a public host sends its document to validator.swagger.io.
                "validatorUrl": None,
            },
        )

    app.mount(ASSETS, _Assets(packages=[("fastapi_offline", "static")]), name="docs-assets")
