"""Sequences that fell behind their table are brought past its highest id.

A database restored by hand may hand out ids that rows already have, and the first insert would fail.

Revision ID: e93b5d27f610
Revises: 7c1f0a9de482
Create Date: 2026-11-22 18:25:00
"""

from alembic import op

revision = "e93b5d27f610"
down_revision = "7c1f0a9de482"
branch_labels = None
depends_on = None

TABLES = ("users", "ai_recommendations", "order_templates", "user_sessions", "activity_log")


def upgrade() -> None:
    for table in TABLES:
        op.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
        op.execute(
            f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), highest) "
            f"FROM (SELECT max(id) AS highest FROM {table}) AS rows "
            f"WHERE highest > coalesce(pg_sequence_last_value(pg_get_serial_sequence('{table}', 'id')::regclass), 0)"
        )


def downgrade() -> None:
    """A sequence that is ahead of its table needs no undoing."""
