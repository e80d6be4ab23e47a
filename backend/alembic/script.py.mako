## Steps that would make readers or writers of a big table wait have helpers in app/db/migration/ddl.py: an index or a constraint
## on a table that holds rows, NOT NULL, an UPDATE of many rows. A revision that uses them commits on the way, so each of
## its steps must bear being run again. tests/db/migration/test_revisions.py holds every file in versions/ to these rules.
<%!
def remarkless(code):
    return "\n".join(line for line in code.splitlines() if not line.lstrip().startswith("# ###")).strip()
%>\
<%
sentence = message.strip().rstrip(".")
UNWRITTEN = f'raise NotImplementedError("Revision {up_revision} is not written yet: app.db.migration.ddl helps with big tables.")'
%>\
"""${sentence[:1].upper() + sentence[1:]}.

Revision ID: ${up_revision}
Revises: ${down_revision or ""}
Create Date: ${create_date.replace(microsecond=0)}
"""

import sqlalchemy as sa
from alembic import op
${imports or ""}
revision = "${up_revision}"
down_revision = ${'"%s"' % down_revision if down_revision else None}
branch_labels = None
depends_on = None


def upgrade() -> None:
    ${remarkless(upgrades or "") or UNWRITTEN}


def downgrade() -> None:
    ${remarkless(downgrades or "") or UNWRITTEN}
