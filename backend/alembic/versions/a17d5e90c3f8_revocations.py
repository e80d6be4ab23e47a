"""Whatever changes what a credential may do, or what its user shows, is told to every process that listens.

A statement that changes or deletes users, sessions or API tokens notifies the channel `revocations` of the users
concerned, in its own transaction; `all` where they are many. PostgreSQL sends each of them once a transaction. That a
session or a token was used is told nobody.

Revision ID: a17d5e90c3f8
Revises: f3c61b7de940
Create Date: 2026-11-23 01:20:00
"""

from alembic import op

from app.db.migration.ddl import commit

revision = "a17d5e90c3f8"
down_revision = "f3c61b7de940"
branch_labels = None
depends_on = None

TABLES = ("users", "user_sessions", "api_tokens")

# The rows of users are few and rarely changed: any change is told.
CREATE_FUNCTION = """
CREATE OR REPLACE FUNCTION tell_revocations() RETURNS trigger LANGUAGE plpgsql AS $function$
DECLARE
    concerned integer[];
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM pg_catalog.pg_notify('revocations', 'all');
        RETURN NULL;
    END IF;
    IF TG_TABLE_NAME = 'users' THEN
        concerned := ARRAY(SELECT id FROM before LIMIT 101);
    ELSIF TG_TABLE_NAME = 'user_sessions' AND TG_OP = 'DELETE' THEN
        -- By no clock does one of these let anybody in that expired a day ago, and they are deleted by the thousand.
        concerned := ARRAY(
            SELECT DISTINCT user_id FROM before
             WHERE expires_at > pg_catalog.timezone('UTC', pg_catalog.now()) - interval '1 day'
             LIMIT 101);
    ELSIF TG_OP = 'DELETE' THEN
        concerned := ARRAY(SELECT DISTINCT user_id FROM before LIMIT 101);
    ELSIF TG_TABLE_NAME = 'user_sessions' THEN
        concerned := ARRAY(
            SELECT DISTINCT before.user_id FROM before LEFT JOIN after USING (id)
             WHERE (before.user_id, before.expires_at, before.ended_at)
                   IS DISTINCT FROM (after.user_id, after.expires_at, after.ended_at)
                OR after.last_activity_at < before.last_activity_at
             LIMIT 101);
    ELSE
        concerned := ARRAY(
            SELECT DISTINCT before.user_id FROM before LEFT JOIN after USING (id)
             WHERE (before.user_id, before.secret_hash, before.scopes, before.expires_at, before.revoked_at,
                    before.from_configuration)
                   IS DISTINCT FROM (after.user_id, after.secret_hash, after.scopes, after.expires_at,
                                     after.revoked_at, after.from_configuration)
             LIMIT 101);
    END IF;
    IF pg_catalog.cardinality(concerned) > 100 THEN
        PERFORM pg_catalog.pg_notify('revocations', 'all');
    ELSE
        PERFORM pg_catalog.pg_notify('revocations', each::text) FROM pg_catalog.unnest(concerned) AS each;
    END IF;
    RETURN NULL;
END
$function$
"""


def upgrade() -> None:
    op.execute(CREATE_FUNCTION)
    for table in TABLES:
        op.execute(
            f"CREATE OR REPLACE TRIGGER revocations_on_update AFTER UPDATE ON {table} "
            "REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION tell_revocations()"
        )
        op.execute(
            f"CREATE OR REPLACE TRIGGER revocations_on_delete AFTER DELETE ON {table} "
            "REFERENCING OLD TABLE AS before FOR EACH STATEMENT EXECUTE FUNCTION tell_revocations()"
        )
        op.execute(
            f"CREATE OR REPLACE TRIGGER revocations_on_truncate AFTER TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION tell_revocations()"
        )
        # Or a session with session_replication_role = replica would change what nobody hears of.
        for event in ("update", "delete", "truncate"):
            op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER revocations_on_{event}")
        commit()


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"DROP TRIGGER IF EXISTS revocations_on_update ON {table}")
        op.execute(f"DROP TRIGGER IF EXISTS revocations_on_delete ON {table}")
        op.execute(f"DROP TRIGGER IF EXISTS revocations_on_truncate ON {table}")
        commit()
    op.execute("DROP FUNCTION IF EXISTS tell_revocations()")
