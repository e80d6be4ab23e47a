"""E-mail addresses and usernames are unique whatever their case.

`folded(name)` is what names are compared by: NFKC, the full case folding of Unicode 14 (as Python's `str.casefold`),
and NFKC again. It depends on no collation, so that no update of the system's C library changes what it gives. An
empty name is no name: its folding is NULL, and any number of users may have an empty username.

PL/pgSQL reads the table of foldings once a connection, and only where a name is not ASCII.

Revision ID: b41d6f0c92e7
Revises: e93b5d27f610
Create Date: 2026-11-22 21:40:00
"""

import json
import re
from collections.abc import Iterator

from alembic import op
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from app.db.migration.ddl import Refusal, commit, create_index_concurrently, drop_index_concurrently

revision = "b41d6f0c92e7"
down_revision = "e93b5d27f610"
branch_labels = None
depends_on = None

TO_THE_NEXT = """
100..12E 134..136 139..13D 141..147 14A..176 179..17D 182..184 187 18B 191 198 1A0..1A4 1A7 1AC 1AF 1B3..1B5 1B8 1BC
1CD..1DB 1DE..1EE 1F4 1F8..21E 222..232 23B 241 246..24E 370..372 376 3C2 3D8..3EE 3F7 3FA 460..480 48A..4BE 4C1..4CD
4D0..52E 1E00..1E94 1EA0..1EFE 2183 2C60 2C67..2C6B 2C72 2C75 2C80..2CE2 2CEB..2CED 2CF2 A640..A66C A680..A69A
A722..A72E A732..A76E A779..A77B A77E..A786 A78B A790..A792 A796..A7A8 A7B4..A7C2 A7C7..A7C9 A7D0 A7D6..A7D8 A7F5
"""
"""Every second code point of these ranges folds to the one after it."""

BY_OFFSET = """
C0..D6+20 D8..DE+20 178-79 181+D2 186+CE 189..18A+CD 18E+4F 18F+CA 190+CB 193+CD 194+CF 196+D3 197+D1 19C+D3 19D+D5
19F+D6 1A6+DA 1A9+DA 1AE+DA 1B1..1B2+D9 1B7+DB 1F6-61 1F7-38 220-82 23A+2A2B 23D-A3 23E+2A28 243-C3 244+45 245+47
345+74 37F+74 386+26 388..38A+25 38C+40 38E..38F+3F 391..3A1+20 3A3..3AB+20 3CF+8 3FD..3FF-82 400..40F+50 410..42F+20
4C0+F 531..556+30 10A0..10C5+1C60 10C7+1C60 10CD+1C60 13F8..13FD-8 1C80-184E 1C81-184D 1C82-1844 1C83..1C84-1842
1C85-1843 1C86-183C 1C87-1824 1C88+89C3 1C90..1CBA-BC0 1CBD..1CBF-BC0 1F08..1F0F-8 1F18..1F1D-8 1F28..1F2F-8
1F38..1F3F-8 1F48..1F4D-8 1F59-8 1F5B-8 1F5D-8 1F5F-8 1F68..1F6F-8 1FB8..1FB9-8 1FBA-4A 1FC8-56 1FCA-56 1FD8..1FD9-8
1FDA-64 1FE8..1FE9-8 1FEA-70 1FEC-7 1FF8-80 1FFA-7E 2132+1C 2C00..2C2F+30 2C62-29F7 2C63-EE6 2C64-29E7 2C6D-2A1C
2C6E-29FD 2C6F-2A1F 2C70-2A1E 2C7E..2C7F-2A3F A77D-8A04 A78D-A528 A7AA-A544 A7AB-A54F A7AC-A54B A7AD-A541 A7AE-A544
A7B0-A512 A7B1-A52A A7B2-A515 A7B3+3A0 A7C4-30 A7C5-A543 A7C6-8A38 AB70..ABBF-97D0 10400..10427+28 104B0..104D3+28
10570..1057A+27 1057C..1058A+27 1058C..10592+27 10594..10595+27 10C80..10CB2+40 118A0..118BF+20 16E40..16E5F+20
1E900..1E921+22
"""
"""Each folds to the code point that lies so far from it."""

WITH_IOTA = """
1F80..1F87-80 1F88..1F8F-88 1F90..1F97-70 1F98..1F9F-78 1FA0..1FA7-40 1FA8..1FAF-48 1FB2-42 1FB3-1C02 1FB4-1C08 1FB7-1
1FBC-1C0B 1FC2-4E 1FC3-1C0C 1FC4-1C16 1FC7-1 1FCC-1C15 1FF2-76 1FF3-1C2A 1FF4-1C26 1FF7-1 1FFC-1C33
"""
"""The same, with a small iota after it."""

TO_TWO = {"\u00df": "ss", "\u1e9e": "ss", "\u0130": "i\u0307"}

ENTRY = re.compile(r"(\w+)(?:\.\.(\w+))?([+-]\w+)?")


def foldings() -> Iterator[tuple[str, str]]:
    """Each character beyond ASCII that NFKC keeps, and what it folds to, up to NFKC."""
    for entries, step, after in ((TO_THE_NEXT, 2, ""), (BY_OFFSET, 1, ""), (WITH_IOTA, 1, "\u03b9")):
        for first, last, offset in ENTRY.findall(entries):
            for code in range(int(first, 16), int(last or first, 16) + 1, step):
                yield chr(code), chr(code + int(offset or "+1", 16)) + after
    yield from TO_TWO.items()


CREATE_FOLDED = """
CREATE OR REPLACE FUNCTION folded(name text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $folded$
BEGIN
    IF pg_catalog.octet_length(name) = pg_catalog.char_length(name) THEN
        RETURN nullif(pg_catalog.lower(name COLLATE "C"), '');
    END IF;
    RETURN pg_catalog.normalize((
        SELECT pg_catalog.string_agg(coalesce($json${foldings}$json$::jsonb ->> letter, letter), '' ORDER BY place)
          FROM pg_catalog.unnest(pg_catalog.string_to_array(
                   pg_catalog.lower(pg_catalog.normalize(name, 'NFKC') COLLATE "C"), NULL
               )) WITH ORDINALITY AS letters (letter, place)
    ), 'NFKC');
END
$folded$
""".replace("{foldings}", json.dumps(dict(foldings()), separators=(",", ":")))

COLUMNS = ("email", "username")

PRESENT = "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass('users') AND NOT attisdropped"

SHARED = """
SELECT '{column} of ' || array_to_string((array_agg(id || ' ' || to_json(name)::text ORDER BY id))[1:10], ', ')
           || CASE WHEN count(*) > 10 THEN ', ...' ELSE '' END AS users,
       count(*) OVER () AS names
  FROM (SELECT id, {column} AS name, folded({column}) COLLATE "C" AS folded FROM users WHERE {column} <> '') AS named
 GROUP BY folded HAVING count(*) > 1 ORDER BY min(id) LIMIT 10
"""
"""Who shares a name, and how many names are shared."""

WRONG_ENCODING = (
    "The database's encoding is {}, and names are compared by Unicode: dump it, restore it into a database made with "
    "`CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0`, point DATABASE_URL there, then start again."
)
DUPLICATES = (
    "From revision b41d6f0c92e7 on, upper and lower case, width and the like do not tell names apart, and users share "
    "some: {}. The database stays before that revision. Decide who keeps the name and give the others one of their "
    "own ({}), then start again."
)


def upgrade() -> None:
    op.execute(CREATE_FOLDED)
    try:
        for column in COLUMNS:
            expression = text(f'(folded({column}) COLLATE "C")')
            create_index_concurrently(f"ix_users_{column}_folded", "users", [expression], unique=True)
    except IntegrityError:
        downgrade()
        commit()
        precondition(op.get_bind())
        raise


def downgrade() -> None:
    for column in COLUMNS:
        drop_index_concurrently(f"ix_users_{column}_folded", "users")
    op.execute("DROP FUNCTION IF EXISTS folded(text)")


def precondition(connection: Connection) -> None:
    """Refuse a database that cannot hold Unicode, and users who share a name."""
    encoding = connection.scalar(text("SHOW server_encoding"))
    if encoding != "UTF8":
        raise Refusal(WRONG_ENCODING.format(encoding))
    connection.execute(text(CREATE_FOLDED))
    present = set(connection.scalars(text(PRESENT)))
    shared: list[str] = []
    remedies: list[str] = []
    for column in COLUMNS:
        found = connection.execute(text(SHARED.format(column=column))).all() if column in present else []
        if found:
            shared += [row.users for row in found]
            remedies.append(f"`UPDATE users SET {column} = '...' WHERE id = ...`")
        if found and found[0].names > len(found):
            shared.append(f"and more of {column}")
    if shared:
        raise Refusal(DUPLICATES.format("; ".join(shared), ", ".join(remedies)))
