"""The activity log outlives its users, and says who acted.

Its `user_id` is a number without a foreign key, NULL where a row tells of no account. What cannot go back under that
key waits in `activity_log_without_user`, from where the next upgrade fetches it.

Revision ID: b6790272e292
Revises: 74e7f4b7c3a3
Create Date: 2026-11-22 21:44:00
"""

from alembic import op

from app.db.migration.ddl import (
    add_constraint,
    commit,
    create_index_concurrently,
    drop_index_concurrently,
    set_not_null,
)

revision = "b6790272e292"
down_revision = "74e7f4b7c3a3"
branch_labels = None
depends_on = None

ADDED = (
    ("user_email", "VARCHAR(255)"),
    ("actor_id", "INTEGER"),
    ("actor_email", "VARCHAR(255)"),
    ("actor_kind", "VARCHAR(20)"),
    ("request_id", "VARCHAR(64)"),
)
INDEXES = (
    ("ix_activity_log_timestamp_id", ["timestamp", "id"]),
    ("ix_activity_log_user_id_timestamp_id", ["user_id", "timestamp", "id"]),
    ("ix_activity_log_action_type_timestamp_id", ["action_type", "timestamp", "id"]),
)

COLUMNS = (
    "id, user_id, action_type, resource_type, resource_id, details, ip_address, user_agent, timestamp, user_email, "
    "actor_id, actor_email, actor_kind, request_id"
)

# Only where there is a row to keep, the table is made.
SET_ASIDE = f"""
DO $$
BEGIN
    LOCK TABLE users, activity_log IN SHARE ROW EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM activity_log WHERE NOT EXISTS (SELECT FROM users WHERE users.id = user_id)) THEN
        CREATE TABLE IF NOT EXISTS activity_log_without_user (LIKE activity_log);
        WITH moved AS (
            DELETE FROM activity_log WHERE NOT EXISTS (SELECT FROM users WHERE users.id = user_id) RETURNING *
        )
        INSERT INTO activity_log_without_user ({COLUMNS}) SELECT {COLUMNS} FROM moved;
    END IF;
END
$$
"""

# Where the table was dropped and made anew meanwhile, ids begin at 1 again: the rows that were there first keep theirs.
FETCH_BACK = f"""
DO $$
DECLARE
    sequence text := pg_get_serial_sequence('activity_log', 'id');
BEGIN
    IF to_regclass('activity_log_without_user') IS NOT NULL THEN
        LOCK TABLE activity_log IN SHARE ROW EXCLUSIVE MODE;
        PERFORM setval(sequence, greatest(max(id), nextval(sequence))) FROM activity_log_without_user;
        UPDATE activity_log_without_user SET id = nextval(sequence) WHERE id IN (SELECT id FROM activity_log);
        INSERT INTO activity_log ({COLUMNS}) SELECT {COLUMNS} FROM activity_log_without_user;
        DROP TABLE activity_log_without_user;
    END IF;
END
$$
"""

NOT_NULL_FOR_NEW_ROWS = """
ALTER TABLE activity_log
    DROP CONSTRAINT IF EXISTS activity_log_user_id_is_not_null,
    ADD CONSTRAINT activity_log_user_id_is_not_null CHECK (user_id IS NOT NULL) NOT VALID
"""


def upgrade() -> None:
    for column, definition in ADDED:
        op.execute(f"ALTER TABLE activity_log ADD COLUMN IF NOT EXISTS {column} {definition}")
    op.alter_column("activity_log", "user_id", nullable=True)
    op.execute("ALTER TABLE activity_log DROP CONSTRAINT IF EXISTS activity_log_user_id_fkey")
    commit()
    op.execute(FETCH_BACK)
    for name, columns in INDEXES:
        create_index_concurrently(name, "activity_log", columns)


def downgrade() -> None:
    for name, _ in INDEXES:
        drop_index_concurrently(name, "activity_log")
    op.execute(SET_ASIDE)
    op.execute(NOT_NULL_FOR_NEW_ROWS)
    foreign_key = "FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE"
    add_constraint("activity_log", "activity_log_user_id_fkey", foreign_key)
    set_not_null("activity_log", "user_id")
    for column, _ in ADDED:
        op.execute(f"ALTER TABLE activity_log DROP COLUMN IF EXISTS {column}")
