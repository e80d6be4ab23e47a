"""Compare the database with the models: exit 0 when they agree, 1 when not, 2 when it cannot be reached."""

import argparse
import json
import sys
from collections.abc import Sequence

from sqlalchemy.exc import DBAPIError

from app.core.errors import StartupError
from app.core.settings import load_settings
from app.db.engine import connect, database
from app.db.schema.report import inspect_schema
from app.db.schema.text import render, verdict


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the report for machines")
    options = parser.parse_args(arguments)
    try:
        with database(load_settings()) as url, connect(url) as connection:
            connection.exec_driver_sql("SET LOCAL lock_timeout = '5s'")
            connection.exec_driver_sql("SET LOCAL statement_timeout = '30s'")
            report = inspect_schema(connection)
    except StartupError as error:
        print(error, file=sys.stderr)
        return 2
    except DBAPIError as error:
        reason = (str(error.orig).strip() or "the connection was lost").splitlines()[0]
        print(f"The database cannot be read: {reason} (see DATABASE_URL).", file=sys.stderr)
        return 2
    machine = report.as_dict() | {"verdict": verdict(report)}
    print(json.dumps(machine, indent=2) if options.json else render(report))
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
