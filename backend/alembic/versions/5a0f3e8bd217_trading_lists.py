"""Lists of order templates and recommendations, and the accuracy of these, have indexes that begin with the user.

Every query names a user, or rows that belong to nobody, so the indexes over one column alone are of no use.

Revision ID: 5a0f3e8bd217
Revises: d94b1c6e7a05
Create Date: 2026-11-23 00:50:00
"""

import sqlalchemy as sa

from app.db.migration.ddl import create_index_concurrently, drop_index_concurrently

revision = "5a0f3e8bd217"
down_revision = "d94b1c6e7a05"
branch_labels = None
depends_on = None

TEMPLATES = (
    ("ix_order_templates_user_id_id", ["user_id", "id"]),
    ("ix_order_templates_user_id_symbol_id", ["user_id", "symbol", "id"]),
)
RECOMMENDATIONS = (
    ("ix_ai_recommendations_list", ["user_id"]),
    ("ix_ai_recommendations_list_symbol", ["user_id", "symbol"]),
    ("ix_ai_recommendations_list_type", ["user_id", "recommendation_type"]),
    ("ix_ai_recommendations_list_status", ["user_id", "status"]),
    ("ix_ai_recommendations_list_symbol_type", ["user_id", "symbol", "recommendation_type"]),
    ("ix_ai_recommendations_list_symbol_status", ["user_id", "symbol", "status"]),
    ("ix_ai_recommendations_list_type_status", ["user_id", "recommendation_type", "status"]),
    ("ix_ai_recommendations_list_symbol_type_status", ["user_id", "symbol", "recommendation_type", "status"]),
)
IS_PENDING = "status = 'pending'"
HAS_OUTCOME = (
    "actual_pnl > '-Infinity'::numeric AND actual_pnl < 'Infinity'::numeric "
    "AND confidence_score >= 0 AND confidence_score <= 100"
)
OUTCOMES: tuple[tuple[str, list[str | sa.TextClause], list[str]], ...] = (
    ("ix_ai_recommendations_outcomes", ["user_id", "actual_pnl"], ["confidence_score"]),
    ("ix_ai_recommendations_outcomes_by_symbol", ["user_id", "symbol", "actual_pnl"], ["confidence_score"]),
    ("ix_ai_recommendations_outcomes_by_type", ["user_id", "recommendation_type", "actual_pnl"], ["confidence_score"]),
    (
        "ix_ai_recommendations_outcomes_by_month",
        ["user_id", sa.text("date_trunc('month', created_at)"), "actual_pnl"],
        ["created_at", "confidence_score"],
    ),
)
REPLACED = (
    ("ix_ai_recommendations_symbol", ["symbol"]),
    ("ix_ai_recommendations_recommendation_type", ["recommendation_type"]),
    ("ix_ai_recommendations_status", ["status"]),
    ("ix_ai_recommendations_created_at", ["created_at"]),
)


def upgrade() -> None:
    for name, columns in TEMPLATES:
        create_index_concurrently(name, "order_templates", columns)
    for name, columns in RECOMMENDATIONS:
        create_index_concurrently(name, "ai_recommendations", [*columns, "created_at", "id"])
    create_index_concurrently(
        "ix_ai_recommendations_expiry", "ai_recommendations", ["user_id", "expires_at"], where=IS_PENDING
    )
    for name, key, include in OUTCOMES:
        create_index_concurrently(name, "ai_recommendations", key, include=include, where=HAS_OUTCOME)
    for name, _ in REPLACED:
        drop_index_concurrently(name, "ai_recommendations")


def downgrade() -> None:
    for name, columns in REPLACED:
        create_index_concurrently(name, "ai_recommendations", columns)
    for name, _, _ in OUTCOMES:
        drop_index_concurrently(name, "ai_recommendations")
    drop_index_concurrently("ix_ai_recommendations_expiry", "ai_recommendations")
    for name, _ in RECOMMENDATIONS:
        drop_index_concurrently(name, "ai_recommendations")
    for name, _ in TEMPLATES:
        drop_index_concurrently(name, "order_templates")
