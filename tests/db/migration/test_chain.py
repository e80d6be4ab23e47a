"""The revisions themselves: what they make, what they keep, and the way back."""

import ast
import re
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from app.db.engine import connect
from app.db.migration.autogenerate import is_told_alike
from app.db.revisions import VERSIONS, head_revision, revisions
from app.db.schema.report import inspect_schema
from app.models.base import Base
from tests.support import postgres
from tests.support.chain import (
    ACCOUNTS,
    CHAIN,
    INITIAL,
    ORDER_TEMPLATES,
    RECOMMENDATIONS,
    USERNAMES,
    catalog,
    downgrade,
    execute,
    rendered,
    revision_of,
    run_script,
    shell,
    upgrade,
)
from tests.support.deployment import MANAGED, deploy

DEPLOYED = [INITIAL, RECOMMENDATIONS, ORDER_TEMPLATES, ACCOUNTS, USERNAMES]
"""What existing deployments may be at: neither these ids nor their order ever change."""

FILES = sorted(VERSIONS.glob("*.py"))

INTEGERS = "AS integer FROM 1 TO 2147483647 START 1 BY 1 OWNED BY id"
AT_USERNAMES = {
    "users": f"""
        id INTEGER NOT NULL DEFAULT nextval('users_id_seq'::regclass)
        email VARCHAR(255) NOT NULL
        alpaca_account_id VARCHAR(100) NULL
        created_at TIMESTAMP NOT NULL
        updated_at TIMESTAMP NOT NULL
        preferences JSON NOT NULL
        password_hash VARCHAR(255) NULL
        full_name VARCHAR(255) NULL
        role VARCHAR(50) NOT NULL DEFAULT 'personal_only'::character varying
        is_active BOOLEAN NOT NULL DEFAULT true
        last_login_at TIMESTAMP NULL
        username VARCHAR(255) NULL
        CONSTRAINT users_pkey PRIMARY KEY (id)
        UNIQUE INDEX ix_users_alpaca_account_id (alpaca_account_id)
        UNIQUE INDEX ix_users_email (email)
        INDEX ix_users_id (id)
        INDEX ix_users_is_active (is_active)
        INDEX ix_users_role (role)
        SEQUENCE users_id_seq {INTEGERS}
    """,
    "ai_recommendations": f"""
        id INTEGER NOT NULL DEFAULT nextval('ai_recommendations_id_seq'::regclass)
        user_id INTEGER NULL
        symbol VARCHAR(20) NOT NULL
        recommendation_type VARCHAR(20) NOT NULL
        confidence_score DOUBLE PRECISION NOT NULL
        analysis_data JSON NOT NULL
        suggested_entry_price DOUBLE PRECISION NULL
        suggested_stop_loss DOUBLE PRECISION NULL
        suggested_take_profit DOUBLE PRECISION NULL
        suggested_position_size DOUBLE PRECISION NULL
        reasoning TEXT NULL
        market_context TEXT NULL
        status VARCHAR(20) NOT NULL
        executed_at TIMESTAMP NULL
        execution_price DOUBLE PRECISION NULL
        actual_pnl DOUBLE PRECISION NULL
        actual_pnl_percent DOUBLE PRECISION NULL
        accuracy_score DOUBLE PRECISION NULL
        created_at TIMESTAMP NOT NULL
        expires_at TIMESTAMP NULL
        CONSTRAINT ai_recommendations_pkey PRIMARY KEY (id)
        CONSTRAINT ai_recommendations_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
        INDEX ix_ai_recommendations_created_at (created_at)
        INDEX ix_ai_recommendations_id (id)
        INDEX ix_ai_recommendations_recommendation_type (recommendation_type)
        INDEX ix_ai_recommendations_status (status)
        INDEX ix_ai_recommendations_symbol (symbol)
        SEQUENCE ai_recommendations_id_seq {INTEGERS}
    """,
    "order_templates": f"""
        id INTEGER NOT NULL DEFAULT nextval('order_templates_id_seq'::regclass)
        user_id INTEGER NULL
        name VARCHAR(255) NOT NULL
        description TEXT NULL
        symbol VARCHAR(20) NOT NULL
        side VARCHAR(10) NOT NULL
        quantity DOUBLE PRECISION NOT NULL
        order_type VARCHAR(20) NOT NULL
        limit_price DOUBLE PRECISION NULL
        created_at TIMESTAMP NOT NULL
        updated_at TIMESTAMP NOT NULL
        last_used_at TIMESTAMP NULL
        CONSTRAINT order_templates_pkey PRIMARY KEY (id)
        CONSTRAINT order_templates_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
        INDEX ix_order_templates_id (id)
        INDEX ix_order_templates_name (name)
        SEQUENCE order_templates_id_seq {INTEGERS}
    """,
    "user_sessions": f"""
        id INTEGER NOT NULL DEFAULT nextval('user_sessions_id_seq'::regclass)
        user_id INTEGER NOT NULL
        access_token_jti VARCHAR(100) NOT NULL
        refresh_token_jti VARCHAR(100) NOT NULL
        expires_at TIMESTAMP NOT NULL
        last_activity_at TIMESTAMP NOT NULL
        ip_address VARCHAR(45) NULL
        user_agent VARCHAR(500) NULL
        created_at TIMESTAMP NOT NULL
        CONSTRAINT user_sessions_pkey PRIMARY KEY (id)
        CONSTRAINT user_sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
        UNIQUE INDEX ix_user_sessions_access_token_jti (access_token_jti)
        INDEX ix_user_sessions_expires_at (expires_at)
        INDEX ix_user_sessions_id (id)
        UNIQUE INDEX ix_user_sessions_refresh_token_jti (refresh_token_jti)
        INDEX ix_user_sessions_user_id (user_id)
        SEQUENCE user_sessions_id_seq {INTEGERS}
    """,
    "activity_log": f"""
        id INTEGER NOT NULL DEFAULT nextval('activity_log_id_seq'::regclass)
        user_id INTEGER NOT NULL
        action_type VARCHAR(50) NOT NULL
        resource_type VARCHAR(50) NULL
        resource_id INTEGER NULL
        details JSON NOT NULL
        ip_address VARCHAR(45) NULL
        user_agent VARCHAR(500) NULL
        timestamp TIMESTAMP NOT NULL
        CONSTRAINT activity_log_pkey PRIMARY KEY (id)
        CONSTRAINT activity_log_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
        INDEX ix_activity_log_action_type (action_type)
        INDEX ix_activity_log_id (id)
        INDEX ix_activity_log_resource_type (resource_type)
        INDEX ix_activity_log_timestamp (timestamp)
        INDEX ix_activity_log_user_id (user_id)
        SEQUENCE activity_log_id_seq {INTEGERS}
    """,
}


def expected(table: str) -> list[str]:
    return [line.strip() for line in AT_USERNAMES[table].strip().splitlines()]


def test_alembic_check_compares_with_the_models(clone_url: str) -> None:
    assert shell(clone_url, "check").returncode == 0
    execute(clone_url, "ALTER TABLE users DROP COLUMN full_name")
    said = shell(clone_url, "check")
    assert said.returncode > 0
    assert "full_name" in said.stdout + said.stderr


class TestFiles:
    def test_the_deployed_revisions_stand_as_they_were(self) -> None:
        assert CHAIN[: len(DEPLOYED)] == DEPLOYED

    def test_there_is_one_head_and_the_start_reads_the_same_chain_from_the_files(self) -> None:
        script = ScriptDirectory(str(VERSIONS.parent))
        assert script.get_heads() == [head_revision()]
        assert revisions() == {each.revision: each.down_revision for each in script.walk_revisions()}

    @pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
    def test_a_file_is_named_for_its_revision_and_message(self, path: Path) -> None:
        module = ast.parse(path.read_text(encoding="utf-8"))
        assigned = {ast.unparse(node.targets[0]): node.value for node in module.body if isinstance(node, ast.Assign)}
        revision, down_revision = (ast.literal_eval(assigned[name]) for name in ("revision", "down_revision"))
        docstring = ast.get_docstring(module) or ""
        assert re.fullmatch(r"[0-9a-f]{12}_[a-z0-9]+(_[a-z0-9]+)*", path.stem)
        assert path.stem.startswith(f"{revision}_")
        assert f"Revision ID: {revision}\nRevises: {down_revision or ''}".strip() in docstring
        assert {"upgrade", "downgrade"} <= {node.name for node in module.body if isinstance(node, ast.FunctionDef)}

    @pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
    def test_no_revision_depends_on_the_models_of_today(self, path: Path) -> None:
        tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        imported = {
            name
            for node in tree
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
        }
        assert not [name for name in imported if name.startswith("app") and name != "app.db.migration.ddl"]


class TestSchema:
    def test_stopped_at_the_deployed_revision_it_is_the_deployed_schema(self, empty_url: str) -> None:
        upgrade(empty_url, USERNAMES)
        found = catalog(empty_url)
        assert sorted(found) == sorted(AT_USERNAMES)
        for table in AT_USERNAMES:
            assert found[table] == expected(table)

    def test_the_deployment_of_the_tests_has_that_schema_too(self, empty_url: str) -> None:
        deploy(empty_url)
        assert {table: catalog(empty_url)[table] for table in MANAGED} == {table: expected(table) for table in MANAGED}

    def test_the_initial_revision_is_users_with_six_columns(self, empty_url: str) -> None:
        upgrade(empty_url, INITIAL)
        six, rest = expected("users")[:6], expected("users")[12:]
        six[1] = "email VARCHAR(255) NULL"
        accounts = ("ix_users_role", "ix_users_is_active")
        assert catalog(empty_url) == {"users": six + [line for line in rest if not any(i in line for i in accounts)]}

    def test_head_is_what_the_models_say(self, clone_url: str) -> None:
        with connect(clone_url) as connection:
            report = inspect_schema(connection)
            options = {"compare_type": True, "compare_server_default": True, "include_object": is_told_alike}
            differences = compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)
        assert report.ok
        assert report.drift == ()
        assert differences == []


class TestWayBack:
    @pytest.mark.slow
    def test_up_down_up_leaves_at_each_revision_what_was_there(self, empty_url: str) -> None:
        before: dict[str, list[str]] = {}
        for revision, previous in zip(CHAIN, ["base", *CHAIN], strict=False):
            upgrade(empty_url, revision)
            after = catalog(empty_url)
            downgrade(empty_url, previous)
            assert catalog(empty_url) == before, f"{revision} down"
            upgrade(empty_url, revision)
            assert catalog(empty_url) == after, f"{revision} up again"
            before = after

    def test_the_way_from_head_to_nothing_and_back(self, clone_url: str) -> None:
        head = catalog(clone_url)
        downgrade(clone_url, "base")
        assert catalog(clone_url) == {}
        assert revision_of(clone_url) == []
        upgrade(clone_url)
        assert catalog(clone_url) == head

    def test_rendered_as_sql_it_does_the_same_both_ways(self, empty_url: str, template: str, server_url: str) -> None:
        run_script(empty_url, rendered("upgrade", "head"))
        assert catalog(empty_url) == catalog(postgres.address_of(server_url, template))
        assert revision_of(empty_url) == [head_revision()]
        run_script(empty_url, rendered("downgrade", "head:base"))
        assert catalog(empty_url) == {}

    def test_rendered_as_sql_the_refusal_refuses(self, empty_url: str) -> None:
        deploy(empty_url)
        with pytest.raises(AssertionError, match="have no password"):
            run_script(empty_url, rendered("downgrade", f"{USERNAMES}:{ACCOUNTS}"))
        assert revision_of(empty_url) == [USERNAMES]
