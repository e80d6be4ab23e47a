"""What a table is made of: one vocabulary for what the models ask for and what the database has."""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

_SPOKEN = {
    "character varying": "VARCHAR",
    "character": "CHAR",
    "timestamp with time zone": "TIMESTAMPTZ",
    "timestamp without time zone": "TIMESTAMP",
    "time with time zone": "TIMETZ",
    "time without time zone": "TIME",
    "float": "DOUBLE PRECISION",
    "decimal": "NUMERIC",
}
_TYPE = re.compile(
    r"(?P<name>[a-z0-9_ ]+?)(?P<size> ?\([\d, ]+\))?(?P<zone> with(?:out)? time zone)?(?P<array>(?:\[\])*)"
)


class Expression(NamedTuple):
    """SQL over one row of `table`; cast to `type` where the column that takes the value would cast it."""

    table: str
    sql: str
    type: str = ""


class Key(NamedTuple):
    """What an index sorts by: a column's name or an expression, and what is not plain ascending order."""

    by: str | Expression
    options: str = ""

    def __str__(self) -> str:
        return f"{self.by if isinstance(self.by, str) else self.by.sql} {self.options}".strip()


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    nullable: bool
    default: Expression | None = None
    collation: str | None = None
    numbered: bool = False
    """Whether a sequence gives the default."""
    generated: bool = False
    """Whether `default` is computed at every write and cannot be given."""
    withheld: tuple[str, ...] = ()
    """Privileges on it that the connected role lacks."""

    @property
    def full_type(self) -> str:
        return f'{self.type} COLLATE "{self.collation}"' if self.collation else self.type

    @property
    def nullability(self) -> str:
        return "NULL" if self.nullable else "NOT NULL"

    def __str__(self) -> str:
        default = f" DEFAULT {self.default.sql}" if self.default else ""
        return f"{self.full_type} {self.nullability}{default}"


@dataclass(frozen=True)
class Index:
    name: str
    keys: tuple[Key, ...]
    unique: bool = False
    method: str = "btree"
    include: tuple[str, ...] = ()
    nulls_distinct: bool = True
    where: Expression | None = None
    valid: bool = True

    def __str__(self) -> str:
        unique = "UNIQUE " if self.unique else ""
        method = f"USING {self.method} " if self.method != "btree" else ""
        include = f" INCLUDE ({', '.join(self.include)})" if self.include else ""
        nulls = "" if self.nulls_distinct else " NULLS NOT DISTINCT"
        where = f" WHERE {self.where.sql}" if self.where else ""
        invalid = "" if self.valid else " INVALID"
        return f"{unique}{method}({', '.join(map(str, self.keys))}){include}{nulls}{where}{invalid}"


@dataclass(frozen=True)
class Constraint:
    """A primary key, unique, foreign key, check or exclusion constraint, as pg_get_constraintdef puts it."""

    name: str
    kind: str
    definition: str
    check: Expression | None = None
    valid: bool = True


class Oddity(NamedTuple):
    """Something of a table that no model describes, such as a trigger."""

    what: str
    object: str
    definition: str


class Numbering(NamedTuple):
    """A sequence that numbers a column; `relation` and `table` are as SQL in this search path spells them."""

    column: str
    table: str
    sequence: str
    readable: bool
    usable: bool


@dataclass(frozen=True)
class Table:
    name: str
    columns: tuple[Column, ...]
    indexes: tuple[Index, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    oddities: tuple[Oddity, ...] = ()
    numberings: tuple[Numbering, ...] = ()
    triggers: dict[str, str] = field(default_factory=dict)
    """Those that a revision made, which are no oddities, by name; the models tell them, the catalog lists all."""


def spoken_type(sql: str) -> str:
    """A type as a person writes it: VARCHAR(255), TIMESTAMP; alike for what models and PostgreSQL call it."""
    parts = _TYPE.fullmatch(sql.lower())
    if parts is None:
        return sql
    name = parts["name"] + (parts["zone"] or "")
    return _SPOKEN.get(name, name).upper() + (parts["size"] or "").replace(" ", "") + parts["array"]
