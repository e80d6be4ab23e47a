"""The statistics of outcomes, against the definitions computed anew in exact fractions."""

import random
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from tests.features.recommendations.outcomes import (
    NOTHING,
    SYMBOLS,
    Outcome,
    add,
    expected,
    random_outcome,
    rounded,
    without_ties,
)
from tests.features.recommendations.support import (
    CLOSE,
    DISMISS,
    EXECUTE,
    Caller,
    another_token,
    good,
    let_expire,
    new_caller,
)
from tests.support.accounts import faults, refusal
from tests.support.identity import Service, execute, insufficient, statements

pytestmark = pytest.mark.anyio


@pytest.fixture
def caller(service: Service) -> Caller:
    return new_caller(service)


async def accuracy(caller: Caller) -> dict[str, Any]:
    return good(await caller.get("accuracy"))


class TestAnyRows:
    @pytest.fixture(params=range(4))
    def outcomes(self, request: pytest.FixtureRequest, service: Service, caller: Caller) -> Iterator[list[Outcome]]:
        """The caller's, beside those of others."""
        chance = random.Random(request.param)
        mine = [random_outcome(chance) for _ in range([600, 301, 40, 3][request.param])]
        others = [random_outcome(chance) for _ in range(200)]
        add(service.url, new_caller(service).id, others)
        add(service.url, None, others)
        add(service.url, caller.id, mine)
        yield mine
        execute(service.url, "DELETE FROM ai_recommendations")

    async def test_are_computed_as_defined(self, caller: Caller, outcomes: list[Outcome]) -> None:
        answer = await accuracy(caller)
        assert without_ties(answer) == without_ties(expected(outcomes))
        for groups in (answer["by_symbol"], answer["by_type"]):
            counts = [group["count"] for group in groups]
            assert counts == sorted(counts, reverse=True)


class TestDefinitions:
    async def test_of_nothing(self, service: Service, caller: Caller) -> None:
        nothing = {"overall": NOTHING, "by_symbol": [], "by_type": [], "by_month": []}
        assert await accuracy(caller) == nothing
        add(service.url, caller.id, [Outcome(actual_pnl=None), Outcome(confidence_score="NaN")])
        assert await accuracy(caller) == nothing

    async def test_of_one(self, service: Service, caller: Caller) -> None:
        add(service.url, caller.id, [Outcome(actual_pnl="-2.50", confidence_score="30.0")])
        one = {"count": 1, "hit_rate": "0", "mean_pnl": "-2.5", "median_pnl": "-2.5", "brier_score": "0.09"}
        assert await accuracy(caller) == {
            "overall": one,
            "by_symbol": [one | {"symbol": "AAPL"}],
            "by_type": [one | {"recommendation_type": "buy"}],
            "by_month": [one | {"month": "2024-01"}],
        }

    @pytest.mark.parametrize(
        ("results", "middle"),
        [
            (["5", "1", "3"], "3"),
            (["5", "1", "3", "4"], "3.5"),
            (["0.000000001", "0"], "0.000000001"),
            (["-0.000000001", "0"], "-0.000000001"),
            (["7", "7", "7", "-1"], "7"),
            (["100", "-100"], "0"),
            (["NaN", "Infinity", "2", "1", "3"], "2"),
        ],
    )
    async def test_medians(self, service: Service, caller: Caller, results: list[str], middle: str) -> None:
        add(service.url, caller.id, [Outcome(actual_pnl=result) for result in results])
        answer = await accuracy(caller)
        groups = [answer["overall"], *answer["by_symbol"], *answer["by_type"], *answer["by_month"]]
        assert [group["median_pnl"] for group in groups] == [middle] * 4

    @pytest.mark.parametrize(
        ("confidence", "result", "hit_rate", "brier"),
        [
            ("100", "0.000000001", "1", "0"),
            ("100", "0", "0", "1"),
            ("0", "0", "0", "0"),
            ("0", "1", "1", "1"),
            ("50", "1", "1", "0.25"),
            ("50", "-1", "0", "0.25"),
            ("33.333333333", "-1", "0", "0.111111111"),
            ("99.999999999", "1", "1", "0"),
        ],
    )
    async def test_hits_and_scores(
        self, service: Service, caller: Caller, confidence: str, result: str, hit_rate: str, brier: str
    ) -> None:
        add(service.url, caller.id, [Outcome(confidence_score=confidence, actual_pnl=result)])
        overall = (await accuracy(caller))["overall"]
        assert (overall["hit_rate"], overall["brier_score"]) == (hit_rate, brier)

    async def test_thirds(self, service: Service, caller: Caller) -> None:
        add(service.url, caller.id, [Outcome(actual_pnl=pnl, confidence_score="10") for pnl in ("1", "1", "-2.5")])
        overall = (await accuracy(caller))["overall"]
        assert (overall["hit_rate"], overall["mean_pnl"]) == ("0.666666667", "-0.166666667")
        assert overall["brier_score"] == rounded(Fraction(81 + 81 + 1, 300))

    @pytest.mark.parametrize(
        "results",
        [
            ["999999999999999999", "999999999999999998"],
            ["1000000000000", "1000000000001", "1000000000001"],
            ["-123456789012345678", "-123456789012345677", "-1", "-1"],
            ["999999999999999999.999999999"] * 7 + ["999999999999999999.999999998"],
            ["1e308", "-1e-300", "0.1000000000000000055511151231257827"],
        ],
    )
    async def test_large_results(self, service: Service, caller: Caller, results: list[str]) -> None:
        outcomes = [Outcome(actual_pnl=result) for result in results]
        add(service.url, caller.id, outcomes)
        assert await accuracy(caller) == expected(outcomes)

    async def test_months_are_of_utc(self, service: Service, caller: Caller) -> None:
        moments = ["2024-01-31 23:59:59.999999", "2024-02-01 00:00:00", "2023-02-01 00:00:00", "0999-12-31 00:00:00"]
        add(service.url, caller.id, [Outcome(created_at=moment) for moment in moments])
        months = [group["month"] for group in (await accuracy(caller))["by_month"]]
        assert months == ["2024-02", "2024-01", "2023-02", "0999-12"]

    async def test_an_outcome_counts_from_its_closing_on(self, caller: Caller) -> None:
        numbers = [(await caller.create(confidence_score=str(each)))["id"] for each in (80, 60, 40, 20)]
        await caller.move(numbers[2], DISMISS)
        let_expire(caller.service.url, numbers[3])
        for number in numbers[:2]:
            await caller.move(number, EXECUTE)
        assert (await accuracy(caller))["overall"] == NOTHING
        scores = []
        for number, pnl in zip(numbers[:2], ("10", "-4"), strict=True):
            scores.append((await caller.move(number, CLOSE | {"actual_pnl": pnl}))["accuracy_score"])
        overall = (await accuracy(caller))["overall"]
        assert overall == {
            "count": 2,
            "hit_rate": "0.5",
            "mean_pnl": "3",
            "median_pnl": "3",
            "brier_score": "0.2",
        }
        assert 1 - sum(map(Decimal, scores)) / 200 == Decimal(overall["brier_score"])


class TestTheRequest:
    async def test_one_query_each(self, service: Service, caller: Caller) -> None:
        add(service.url, caller.id, [Outcome(symbol=symbol) for symbol in SYMBOLS])
        with statements() as seen:
            await accuracy(caller)
        assert len([each for each in seen if "ai_recommendations" in each]) == 4

    async def test_a_thousand_symbols(self, service: Service, caller: Caller) -> None:
        add(service.url, caller.id, [Outcome(symbol=f"S{number % 1001}") for number in range(1001 + 500)])
        answer = await accuracy(caller)
        assert answer["overall"]["count"] == 1501
        assert [group["count"] for group in answer["by_symbol"]] == [2] * 500 + [1] * 500

    async def test_who_may(self, service: Service, caller: Caller) -> None:
        add(service.url, caller.id, [Outcome()])
        assert (await accuracy(another_token(caller, "read")))["overall"]["count"] == 1
        answer = await another_token(caller, "write").get("accuracy")
        assert refusal(answer) == (403, "insufficient_scope")
        assert answer.headers["www-authenticate"] == insufficient("read")
        assert refusal(await caller._replace(headers={}).get("accuracy"))[0] == 401

    async def test_it_is_no_id(self, caller: Caller) -> None:
        assert faults(await caller.get("accurate")) == [("path/recommendation_id", "int_parsing")]
        assert refusal(await caller.patch("accuracy", DISMISS))[0] == 422  # type: ignore[arg-type]
