"""How long a start takes when there is nothing to migrate."""

from benchmarks.servers import serving
from benchmarks.tables import Table

READY = "/api/health/ready"
VARIANTS = {
    "without looking at the schema": "benchmarks.applications:unmigrated",
    "the service": "app.main:app",
}


def measure(url: str, rounds: int) -> Table:
    """Seconds from the process's birth to its first 200; one warm-up of each is not counted."""
    runs: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for _ in range(rounds + 1):
        for variant, application in VARIANTS.items():
            with serving(application, url, READY) as (_, _, seconds):
                runs[variant].append(seconds)
    return Table(
        "Start at head until the first 200", "s", {name: figures[1:] for name, figures in runs.items()}, "ratio <= 1.3"
    )
