"""What the doctor finds."""

from typing import NamedTuple

from app.cli.doctor import command
from tests.cli.support import CommandLine

STRONG = "7f3c9a51e08b46d2a7c4f19e5d80b362"
TOKEN = "0c1e5b7a93d248f6b5a09c7e62f1d384"


class Line(NamedTuple):
    status: str
    detail: str
    remedy: str | None


def findings(cli: CommandLine) -> dict[str, list[Line]]:
    """By check; the exit status agrees with them."""
    outcome = cli.run("doctor", "--json")
    report = outcome.json
    failed = any(each["status"] == "fail" for each in report["checks"])
    assert (outcome.status, report["ok"]) == ((1, False) if failed else (0, True))
    names = [each["name"] for each in report["checks"]]
    assert sorted(names, key=command.ORDER.index) == names
    found: dict[str, list[Line]] = {}
    for each in report["checks"]:
        found.setdefault(each["name"], []).append(Line(each["status"], each["detail"], each["remedy"]))
        assert (each["remedy"] is None) == (each["status"] == "ok"), each
    return found


def only(cli: CommandLine, name: str) -> Line:
    """What it says of one check, the others being in order."""
    (found,) = (checked := findings(cli)).pop(name)
    assert {line.status for lines in checked.values() for line in lines} <= {"ok"}, checked
    return found
