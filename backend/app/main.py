"""The application: built, wired and stopped here."""

from fastapi import FastAPI

from app import __version__
from app.api import TAGS, include_routers
from app.core.errors import StartupError
from app.core.logging import configure_logging
from app.core.settings import Settings, load_settings
from app.lifespan import lifespan
from app.process import exit_with
from app.web.docs import install_docs
from app.web.middleware import install_middleware
from app.web.problems import install_problem_handlers


def create_app(settings: Settings | None = None) -> FastAPI:
    """The whole service; `settings` are read from the environment where none are given.

    Raises:
        StartupError: the configuration is bad.
    """
    settings = settings or load_settings()
    configure_logging(settings)
    app = FastAPI(
        title="Trading Backend",
        summary="Accounts and authentication, from one bearer token to many users.",
        version=__version__,
        openapi_tags=TAGS,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.settings = settings
    install_problem_handlers(app)
    install_middleware(app, settings)
    include_routers(app)
    install_docs(app, remember_token=not settings.production)
    return app


try:
    app = create_app()
except StartupError as error:
    exit_with(error)
