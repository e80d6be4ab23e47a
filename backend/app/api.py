"""Every router on one page."""

from fastapi import FastAPI

from app.features.activity.routes import router as activity
from app.features.auth.routes import router as auth
from app.features.health.routes import router as health
from app.features.invitations.routes import router as invitations
from app.features.order_templates.routes import router as order_templates
from app.features.recommendations.routes import router as recommendations
from app.features.sessions.routes import router as sessions
from app.features.tokens.routes import router as tokens
from app.features.users.routes import router as users

TAGS = [
    {"name": "health", "description": "Whether the service can do its work."},
    {"name": "auth", "description": "Signing in and out, registering, claiming."},
    {"name": "users", "description": "Accounts: one's own, and for owners everybody's."},
    {"name": "sessions", "description": "Where one is signed in."},
    {"name": "tokens", "description": "API tokens for scripts and services."},
    {"name": "invitations", "description": "Ways in for new people, for owners to hand out."},
    {"name": "activity", "description": "What happened to an account, and who did it."},
    {"name": "order-templates", "description": "Orders to use again."},
    {"name": "recommendations", "description": "What an analysis service suggests, and what came of it."},
]


def include_routers(app: FastAPI) -> None:
    # What is asked for most comes first: requests are matched in this order.
    for router in (users, order_templates, recommendations, sessions, tokens, activity, auth, health, invitations):
        # Not include_router(): each request would be matched with a router first, and again inside of it.
        app.router.routes += router.routes
