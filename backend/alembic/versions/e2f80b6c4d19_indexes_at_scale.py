"""Sessions and the activity log have the indexes that their queries use, and no others.

What is looked for once an hour, to be deleted or settled, has an index in the order in which it is taken. An index over
a key that is random, or that the first columns of another repeat, costs every sign-in a page of its own to write.

Revision ID: e2f80b6c4d19
Revises: a17d5e90c3f8
Create Date: 2026-11-23 05:40:00
"""

from app.db.migration.ddl import create_index_concurrently, drop_index_concurrently

revision = "e2f80b6c4d19"
down_revision = "a17d5e90c3f8"
branch_labels = None
depends_on = None

IS_PENDING = "status = 'pending'"
NEW = (
    (
        "ix_activity_log_user_id_action_type_timestamp_id",
        "activity_log",
        ["user_id", "action_type", "timestamp", "id"],
        None,
    ),
    ("ix_refresh_token_exchanges_exchanged_at", "refresh_token_exchanges", ["exchanged_at"], None),
    ("ix_known_addresses_last_seen_at", "known_addresses", ["last_seen_at"], None),
    ("ix_ai_recommendations_overdue", "ai_recommendations", ["expires_at", "user_id"], IS_PENDING),
)
UNUSED = (
    ("ix_activity_log_id", "activity_log", ["id"], False),
    ("ix_activity_log_user_id", "activity_log", ["user_id"], False),
    ("ix_activity_log_action_type", "activity_log", ["action_type"], False),
    ("ix_activity_log_resource_type", "activity_log", ["resource_type"], False),
    ("ix_activity_log_timestamp", "activity_log", ["timestamp"], False),
    ("ix_user_sessions_id", "user_sessions", ["id"], False),
    ("ix_user_sessions_access_token_jti", "user_sessions", ["access_token_jti"], True),
    ("ix_user_sessions_refresh_token_jti", "user_sessions", ["refresh_token_jti"], True),
)


def upgrade() -> None:
    for name, table, columns, where in NEW:
        create_index_concurrently(name, table, columns, where=where)
    for name, table, _, _ in UNUSED:
        drop_index_concurrently(name, table)


def downgrade() -> None:
    for name, table, columns, unique in UNUSED:
        create_index_concurrently(name, table, columns, unique=unique)
    for name, table, _, _ in NEW:
        drop_index_concurrently(name, table)
