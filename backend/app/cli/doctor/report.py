"""What the doctor found: for each check one line, or one for each thing that is wrong."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import wraps
from typing import Any, Literal, ParamSpec

from sqlalchemy.exc import DBAPIError

from app.cli.output import printable

P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Finding:
    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    remedy: str | None = None
    """What to type, or to do."""

    def __str__(self) -> str:
        advice = f" → {self.remedy}" if self.remedy else ""
        return f"{self.status:<4}  {self.name:<10}  {printable(self.detail + advice)}"


@dataclass(frozen=True, slots=True)
class Ok:
    detail: str


@dataclass(frozen=True, slots=True)
class Warn:
    detail: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Fail:
    detail: str
    remedy: str


Findings = Iterator[Ok | Warn | Fail]


def check(name: str) -> Callable[[Callable[P, Findings]], Callable[P, list[Finding]]]:
    """Make a check of a generator; what is in order is left out where something is not.

    A statement that fails ends this check alone.
    """

    def decorate(examine: Callable[P, Findings]) -> Callable[P, list[Finding]]:
        @wraps(examine)
        def examined(*args: P.args, **kwargs: P.kwargs) -> list[Finding]:
            found = []
            try:
                for each in examine(*args, **kwargs):
                    found.append(_finding(name, each))  # noqa: PERF401 - keeps what came before a failure
            except DBAPIError as error:
                reason = (str(error.orig).strip() or "the connection was lost").splitlines()[0]
                found.append(
                    Finding(name, "fail", f"cannot be found out ({reason})", "give the database user the right")
                )
            return [finding for finding in found if finding.status != "ok"] or found

        return examined

    return decorate


def _finding(name: str, found: Ok | Warn | Fail) -> Finding:
    if isinstance(found, Ok):
        return Finding(name, "ok", found.detail)
    return Finding(name, "warn" if isinstance(found, Warn) else "fail", found.detail, found.remedy)


def is_well(findings: Sequence[Finding]) -> bool:
    return all(finding.status != "fail" for finding in findings)


def as_dict(findings: Sequence[Finding]) -> dict[str, Any]:
    return {"ok": is_well(findings), "checks": [asdict(finding) for finding in findings]}
