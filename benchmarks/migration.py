"""What a reader and a writer of a million users notice of each migration."""

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from itertools import count

from sqlalchemy import create_engine, make_url, text

from app.db.revisions import pending_revisions
from benchmarks.servers import REPOSITORY

USERS = 1_000_000
QUICK_USERS = 50_000
FULL_ROUNDS = 10
PROBE_PAUSE = 0.002
LIMIT_MS = 100

_FILL = """
INSERT INTO users (email, created_at, updated_at, preferences)
SELECT 'user' || n || '@example.test', now(), now(), '{}' FROM generate_series(1, :users) AS n
"""


@dataclass
class Probe:
    """Runs one statement again and again, and keeps the longest it ever took."""

    url: str
    statement: str
    worst_ms: float = 0.0

    def run(self, stop: threading.Event) -> None:
        engine = create_engine(self.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for turn in count():
                if stop.is_set():
                    break
                started = time.perf_counter()
                connection.execute(text(self.statement), {"id": turn * 7919 % QUICK_USERS + 1})
                self.worst_ms = max(self.worst_ms, (time.perf_counter() - started) * 1000)
                time.sleep(PROBE_PAUSE)
        engine.dispose()


def measure(url: str, rounds: int) -> str:
    """Each step of the chain in turn, from the first revision, under a reader and a writer."""
    users = USERS if rounds >= FULL_ROUNDS else QUICK_USERS
    maintenance = create_engine(url, isolation_level="AUTOCOMMIT")
    with maintenance.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS migration_benchmark WITH (FORCE)"))
        connection.execute(text("CREATE DATABASE migration_benchmark"))
    maintenance.dispose()
    target = make_url(url).set(database="migration_benchmark").render_as_string(hide_password=False)
    first, *others = pending_revisions(None)
    _upgrade(target, first)
    engine = create_engine(target)
    with engine.begin() as connection:
        connection.execute(text(_FILL), {"users": users})
    engine.dispose()
    rows = [_step(target, revision) for revision in others]
    heading = ["| revision | seconds | worst read, ms | worst write, ms |", "|-|-|-|-|"]
    title = f"## Migrating {users:,} users under load"
    target_line = (
        f"One reader and one writer, a statement every {PROBE_PAUSE * 1000:.0f} ms. Target: <= {LIMIT_MS} ms each."
    )
    return "\n".join([title, "", *heading, *rows, "", target_line])


def _step(url: str, revision: str) -> str:
    reader = Probe(url, "SELECT email FROM users WHERE id = :id")
    writer = Probe(url, "UPDATE users SET updated_at = now() WHERE id = :id")
    stop = threading.Event()
    threads = [threading.Thread(target=probe.run, args=(stop,)) for probe in (reader, writer)]
    for thread in threads:
        thread.start()
    started = time.perf_counter()
    _upgrade(url, revision)
    seconds = time.perf_counter() - started
    stop.set()
    for thread in threads:
        thread.join()
    return f"| {revision} | {seconds:.1f} | {reader.worst_ms:.1f} | {writer.worst_ms:.1f} |"


def _upgrade(url: str, revision: str) -> None:
    """In a process of its own, so that the probes wait for the database alone."""
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", revision],
        cwd=REPOSITORY,
        env=os.environ | {"DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
