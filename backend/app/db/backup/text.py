"""Backups and what verifying one has found, for people and for machines."""

import json
from collections.abc import Iterable, Iterator, Sequence

from app.core.clock import rfc3339
from app.core.errors import StartupError
from app.db.backup.contents import Finding
from app.db.backup.folder import Backup, Manifest


def render_list(backups: Iterable[Backup]) -> str:
    rows = [_row(backup) for backup in backups]
    return _table(("NAME", "REVISION", "SIZE", "WHEN", "ROWS", "MADE BY"), rows) if rows else "There is no backup."


def list_as_json(backups: Iterable[Backup]) -> str:
    return json.dumps([_entry(backup) for backup in backups], indent=2)


def render_findings(findings: Iterable[Finding]) -> str:
    """What should be there, and is, of every table (rows) and sequence (next value)."""
    rows = [
        (finding.name, _shown(finding.expected), _shown(finding.found), "ok" if finding.agrees else "DIFFERENT")
        for finding in findings
    ]
    return _table(("TABLE OR SEQUENCE", "BACKED UP", "RESTORED", ""), rows)


def verdict(backup: Backup, findings: Iterable[Finding]) -> str:
    differing = sum(not finding.agrees for finding in findings)
    if differing:
        return f"[FAIL] {backup.name} does not restore to what its manifest describes: {differing} differ."
    return f"[OK] {backup.name} restores to what was backed up, row for row."


def question(backup: Backup, where: str) -> str:
    """What a person is asked before a backup takes the place of the database at `where`."""
    manifest = backup.manifest()
    return (
        f"{backup.name} holds {manifest.contents.rows} rows of the database {manifest.database} as of "
        f"{_moment(manifest)}, revision {manifest.revision}. Put it in the place of {where}, which is kept under "
        "another name?"
    )


def aftermath(kept: str) -> str:
    """What to do after a swap that has put the database `kept` aside."""
    return (
        f"The database that was there is kept as {kept}.\n"
        "  Go back to it:   trading-backend backup undo\n"
        f"  Or drop it:      trading-backend backup discard {kept}\n"
        "Restart the service: its start migrates the database to the revision of its code."
    )


def _row(backup: Backup) -> tuple[str, ...]:
    try:
        manifest = backup.manifest()
    except StartupError:
        return (backup.name, "?", _size(backup.size), "?", "?", "no manifest that can be read")
    revision = manifest.revision or "-"
    return (
        backup.name,
        revision,
        _size(backup.size),
        _moment(manifest),
        str(manifest.contents.rows),
        manifest.made_by,
    )


def _entry(backup: Backup) -> dict[str, object]:
    entry: dict[str, object] = {"name": backup.name, "path": str(backup.path), "size": backup.size}
    try:
        manifest = backup.manifest()
    except StartupError as error:
        return entry | {"error": str(error)}
    return entry | {
        "revision": manifest.revision,
        "taken_at": rfc3339(manifest.taken_at),
        "rows": manifest.contents.rows,
        "made_by": manifest.made_by,
        "database": manifest.database,
    }


def _moment(manifest: Manifest) -> str:
    return f"{manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC"


def _size(size: int) -> str:
    if size < 1000:
        return f"{size} B"
    exponent = min((len(str(size)) - 1) // 3, 3)
    return f"{size / 1000**exponent:.1f} {' kMG'[exponent]}B"


def _shown(number: int | None) -> str:
    return "-" if number is None else str(number)


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(_aligned([heading, *rows]))


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
