"""Every router on one page."""

from fastapi import FastAPI

from app.features.health.routes import router as health
from app.features.tokens.routes import router as tokens
from app.features.users.routes import router as users

TAGS = [
    {"name": "health", "description": "Whether the service can do its work."},
    {"name": "users", "description": "Accounts."},
    {"name": "tokens", "description": "API tokens for scripts and services."},
]


def include_routers(app: FastAPI) -> None:
    for router in (health, users, tokens):
        app.include_router(router)
