"""What a worker keeps in memory, beside a FastAPI application that does nothing."""

import psutil

from benchmarks.servers import get, serving
from benchmarks.tables import Table

HEALTH = "/api/health"
REQUESTS = 500
VARIANTS = {"plain FastAPI": "benchmarks.applications:plain", "the service": "app.main:app"}


def measure(url: str, rounds: int) -> Table:
    """Resident MiB of the worker after some requests."""
    runs: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for _ in range(rounds):
        for variant, application in VARIANTS.items():
            with serving(application, url, HEALTH) as (process, port, _):
                for _ in range(REQUESTS):
                    get(port, HEALTH)
                runs[variant].append(psutil.Process(process.pid).memory_info().rss / 2**20)
    return Table("Resident memory of a worker", "MiB", runs, "none; this is what SQLAlchemy and psycopg2 cost")
