"""What an expression means does not hang on which others it is asked about with."""

from app.db.engine import connect
from app.db.schema.catalog import read_catalog
from app.db.schema.drift import expressions
from app.db.schema.expected import expected_tables
from app.db.schema.expressions import read_meanings
from app.models.database import User


def test_each_alone_means_what_it_means_beside_the_others(clone_url: str) -> None:
    """One that cannot be planned leaves some of the others alone, or alone with their table."""
    expected = expected_tables(User.metadata)
    with connect(clone_url) as connection:
        found = read_catalog(connection, expected).tables
        written = expressions(expected) | expressions(found)
        together = read_meanings(connection, written, found)
        alone = {each: read_meanings(connection, [each], found) for each in written}
    assert together.keys() == written
    assert alone == {each: {each: meaning} for each, meaning in together.items()}
