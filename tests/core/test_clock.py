"""Seconds that pass steadily."""

import sys
import time

import pytest

from app.core.clock import steady


@pytest.mark.skipif(sys.platform != "linux", reason="has one clock for both")
def test_they_pass_while_the_machine_sleeps() -> None:
    assert abs(steady() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 1


def test_they_never_go_back() -> None:
    moments = [steady() for _ in range(10_000)]
    assert moments == sorted(moments)
    assert moments[0] < moments[-1]
