"""Usernames, and users without a password.

Revision ID: 50b91afc8456
Revises: 037b216f2ed1
Create Date: 2025-11-03 11:20:17
"""

from alembic import op

from app.db.migration.ddl import update_in_batches

revision = "50b91afc8456"
down_revision = "037b216f2ed1"
branch_labels = None
depends_on = None

NO_PASSWORD = "!"  # what 037b216f2ed1 wrote for users that had none

REFUSE_USERS_WITHOUT_PASSWORD = """
DO $$
DECLARE
    found bigint;
    ids text;
BEGIN
    LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE;
    SELECT count(*) INTO found FROM users WHERE password_hash IS NULL;
    IF found > 0 THEN
        SELECT string_agg(id::text, ', ') INTO ids
          FROM (SELECT id FROM users WHERE password_hash IS NULL ORDER BY id LIMIT 10) AS first;
        RAISE EXCEPTION '% user(s) have no password, which revision 037b216f2ed1 does not allow (ids: %). '
            'The database stays at revision 50b91afc8456: give each of them a password or delete them, then run '
            'the downgrade again.', found, ids || CASE WHEN found > 10 THEN ', ...' ELSE '' END;
    END IF;
END
$$
"""


def upgrade() -> None:
    op.alter_column("users", "password_hash", nullable=True)
    op.execute("ALTER TABLE users ADD COLUMN IF NOT EXISTS username VARCHAR(255)")
    update_in_batches("users", "password_hash = NULL", f"password_hash = '{NO_PASSWORD}'")


def downgrade() -> None:
    op.execute(REFUSE_USERS_WITHOUT_PASSWORD)
    op.drop_column("users", "username")
    op.alter_column("users", "password_hash", nullable=False)
