"""What restores have put aside belongs to one database alone."""

from app.db.backup.scratch import NAME_BYTES, suffixed
from app.db.backup.swap import kept_databases
from app.db.engine import connect
from tests.support.postgres import run_outside_transaction

LONG = "trading_backend_production_eu_west"
ASIDE = "_before_restore_20260101T000000Z"


def test_of_two_that_begin_alike_each_sees_its_own(server_url: str) -> None:
    one, other = f"{LONG}_1", f"{LONG}_2"
    kept = suffixed(one, ASIDE)
    run_outside_transaction(server_url, f'CREATE DATABASE "{kept}"')
    try:
        with connect(server_url) as server:
            assert kept_databases(server, one) == [kept]
            assert kept_databases(server, other) == []
    finally:
        run_outside_transaction(server_url, f'DROP DATABASE "{kept}"')


def test_a_short_name_is_kept_whole() -> None:
    assert suffixed("trading", ASIDE) == f"trading{ASIDE}"
    assert len(suffixed("ü" * 40, ASIDE).encode()) <= NAME_BYTES
