"""Decimals between JSON and the database: the number that was sent, or a refusal, and nothing in between."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from app.trading.decimals import Amount, DecimalText, Percentage, PositiveAmount, decimal_text
from app.web.exact_json import loads

AMOUNT: TypeAdapter[Decimal] = TypeAdapter(Amount)
POSITIVE: TypeAdapter[Decimal] = TypeAdapter(PositiveAmount)
PERCENTAGE: TypeAdapter[Decimal] = TypeAdapter(Percentage)
TEXT: TypeAdapter[Decimal] = TypeAdapter(DecimalText)

WHOLE = r"(0|[1-9][0-9]{0,17})"
PLAIN = st.from_regex(rf"-?{WHOLE}(\.[0-9]{{1,9}})?", fullmatch=True)
ANY_NUMBER = st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,14})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)


def fault(adapter: TypeAdapter[Decimal], value: Any) -> str:
    with pytest.raises(ValidationError) as refused:
        adapter.validate_python(value)
    (error,) = refused.value.errors()
    return error["type"]


@given(PLAIN)
@example("-999999999999999999.999999999")
@example("-0.000000001")
def test_a_plain_number_comes_back_digit_for_digit(literal: str) -> None:
    expected = "0" if Decimal(literal) == 0 else literal
    for sent in (literal, loads(literal)):
        assert decimal_text(AMOUNT.validate_python(sent)) == expected


@given(ANY_NUMBER)
@example("123456789012345678123456789e-9")
@example("0.000001e6")
@example("-0e-9")
@example("-0e-10")
@example("1e17")
@example("10e17")
def test_any_number_is_kept_whole_or_refused(literal: str) -> None:
    """And the same whether it comes as a number or as text, unless no float could hold it."""
    number = Decimal(literal)
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    fits = exponent >= -9 and (number == 0 or len(digits) + exponent <= 18)
    for sent in (literal, loads(literal)):
        if fits:
            kept = AMOUNT.validate_python(sent)
            assert kept == number
            assert "E" not in decimal_text(kept).upper()
            assert (str(kept) == "0") == (number == 0)
        else:
            assert fault(AMOUNT, sent) in {"decimal_max_places", "decimal_whole_digits"}


@given(st.floats(0.000_000_001, 1e17, exclude_min=True))
def test_the_digits_of_a_float_are_not_rounded_to_fit(number: float) -> None:
    literal = format(Decimal(repr(number)), "f")
    places = len(literal.partition(".")[2])
    if places > 9:
        assert fault(AMOUNT, loads(literal)) == "decimal_max_places"
    else:
        assert AMOUNT.validate_python(loads(literal)) == Decimal(literal)


@given(st.text(max_size=70) | st.text("0123456789.eE+-_ \uff11\u0661nNaAiIfF", max_size=12))
@example("1\n")
@example("\uff11")
@example("1_000")
@example("NaN123")
@example("1e0001")
def test_text_that_is_no_number(text: str) -> None:
    """Python's Decimal is the more generous: what is taken is a number to it as well, in ASCII digits."""
    try:
        found = AMOUNT.validate_python(text)
    except ValidationError:
        return
    assert found == Decimal(text)
    assert set(text) <= set("0123456789.eE+-")
    assert text.strip("-")[0].isdigit()


@pytest.mark.parametrize("value", [True, False, None, 1.5, b"1", ["1"], {"1": "1"}, complex(1)])
def test_what_is_no_number_at_all(value: Any) -> None:
    assert fault(AMOUNT, value) == "decimal_type"


def test_integers_that_are_too_large() -> None:
    """Python refuses to print those of more than 4,300 digits."""
    for number in (10**18, -(10**18), 10**63, 10**4299, 10**5000, -(10**5000)):
        assert fault(AMOUNT, number) in {"decimal_whole_digits", "decimal_parsing"}
    assert AMOUNT.validate_python(10**18 - 1) == 10**18 - 1


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "sNaN"])
def test_stored_values_that_are_no_numbers(text: str) -> None:
    assert fault(AMOUNT, Decimal(text)) == "finite_number"
    assert fault(AMOUNT, text) == "decimal_parsing"


def test_stored_values_are_measured_as_well() -> None:
    """An order of 0.30000000000000004 shares is none that a broker takes."""
    assert fault(AMOUNT, Decimal("0.30000000000000004")) == "decimal_max_places"
    assert fault(AMOUNT, Decimal("1e300")) == "decimal_whole_digits"
    assert str(AMOUNT.validate_python(Decimal("12.50"))) == "12.50"


@pytest.mark.parametrize(
    ("adapter", "good", "bad", "code"),
    [
        (POSITIVE, ["0.000000001", "999999999999999999.999999999"], ["0", "-0", "-0.0", "-1e-9"], "greater_than"),
        (PERCENTAGE, ["0", "-0", "100", "100.000000000", "1e2"], ["-0.000000001", "100.000000001"], "out_of_range"),
    ],
)  # fmt: skip
def test_where_they_end(adapter: TypeAdapter[Decimal], good: list[str], bad: list[str], code: str) -> None:
    for literal in good:
        assert adapter.validate_python(loads(literal)) == adapter.validate_python(literal) == Decimal(literal)
    for literal in bad:
        assert fault(adapter, loads(literal)) == fault(adapter, literal) == code


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("-Infinity", "-Infinity"),
        ("0", "0"),
        ("1.50", "1.50"),
        ("0.30000000000000004", "0.30000000000000004"),
        ("1E+20", "1" + "0" * 20),
        ("5E-324", f"0.{'0' * 323}5"),
        ("-1.5", "-1.5"),
    ],
)
def test_answers_hold_whatever_is_stored(stored: str, shown: str) -> None:
    assert TEXT.dump_json(TEXT.validate_python(Decimal(stored))) == f'"{shown}"'.encode()
