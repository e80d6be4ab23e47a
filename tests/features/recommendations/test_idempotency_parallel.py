"""Requests with one idempotency key at the same moment: one is done, and all get its answer."""

import asyncio
from pathlib import Path

import pytest

from tests.features.recommendations.keys import OTHER, REUSED, grow_old, post, said
from tests.features.recommendations.support import (
    GOOD,
    Caller,
    new_caller,
)
from tests.support.accounts import refusal
from tests.support.identity import Service
from tests.support.service import in_process, settings_for

pytestmark = pytest.mark.anyio


@pytest.fixture
def caller(service: Service) -> Caller:
    return new_caller(service)


@pytest.mark.parametrize("batch", [False, True])
async def test_one_is_done_and_all_are_answered(caller: Caller, batch: bool) -> None:
    body = [GOOD] * 3 if batch else GOOD
    answers = await asyncio.gather(*(post(caller, body, "key", batch=batch) for _ in range(10)))
    assert answers[0].status_code == 201
    assert len({said(answer) for answer in answers}) == 1
    assert len(caller.rows()) == (3 if batch else 1)


async def test_of_two_bodies_one_is_done(caller: Caller) -> None:
    bodies = [GOOD, OTHER] * 5
    answers = await asyncio.gather(*(post(caller, body, "key") for body in bodies))
    done = {said(answer) for answer in answers if answer.is_success}
    refused = [refusal(answer) for answer in answers if not answer.is_success]
    assert (len(done), refused, len(caller.rows())) == (1, [REUSED] * 5, 1)


async def test_an_old_key_is_new_once(caller: Caller) -> None:
    first = await post(caller, GOOD, "key")
    grow_old(caller)
    answers = await asyncio.gather(*(post(caller, GOOD, "key") for _ in range(10)))
    assert len({said(answer) for answer in answers}) == 1
    assert said(answers[0]) != said(first)
    assert len(caller.rows()) == 2


async def test_two_replicas_agree(clone_url: str, tmp_path: Path) -> None:
    settings = settings_for(clone_url, tmp_path)
    async with in_process(settings) as first, in_process(settings) as second:
        one = new_caller(Service(clone_url, first))
        other = one._replace(service=Service(clone_url, second))
        answers = await asyncio.gather(*(post(each, GOOD, "key") for each in [one, other] * 5))
        assert len({said(answer) for answer in answers}) == 1
        assert answers[0].status_code == 201
        assert refusal(await post(other, OTHER, "key")) == REUSED
        assert said(await post(other, GOOD, "key")) == said(answers[0])
        assert len(one.rows()) == 1
