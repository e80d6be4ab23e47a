"""`python -m benchmarks.saturation PORT TOKEN`: ask a replica as much as it can answer, until terminated."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat

import uvloop

from benchmarks.clients import ME, ask_in_turn
from benchmarks.servers import REPOSITORY

CONNECTIONS = 32


@contextmanager
def saturated(port: int, token: str) -> Iterator[str]:
    """A process that keeps the replica busy on 32 connections with a token that it honours; yields what does it."""
    wrk = shutil.which("wrk")
    command = [sys.executable, "-m", "benchmarks.saturation", str(port), token]
    if wrk:
        url = f"http://127.0.0.1:{port}{ME}"
        command = [wrk, "-t1", f"-c{CONNECTIONS}", "-d1h", "-H", f"Authorization: Bearer {token}", url]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=dict(os.environ), stdout=subprocess.DEVNULL)
    try:
        yield "wrk" if wrk else "Python"
        if process.poll() is not None:
            raise RuntimeError("the load ended before its time")
    finally:
        process.terminate()
        process.wait(30)


async def _saturate(port: int, token: str) -> None:
    async with asyncio.TaskGroup() as connections:
        for _ in range(CONNECTIONS):
            connections.create_task(ask_in_turn(port, repeat(token)))


if __name__ == "__main__":
    uvloop.run(_saturate(int(sys.argv[1]), sys.argv[2]))
