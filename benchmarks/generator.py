"""`python -m benchmarks.generator PORT CONNECTIONS SECONDS FILE [MOST]`: what load.lua makes of wrk, slower.

Whoever is answered 503 waits for as long as `Retry-After` says.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from itertools import cycle
from math import inf
from pathlib import Path
from statistics import quantiles

import uvloop

TIMEOUT = 10.0


class Load:
    """What all connections share."""

    def __init__(self, port: int, seconds: float, requests: Iterator[bytes], most: float) -> None:
        self.port = port
        self.requests = requests
        self.left = most
        self.began = self.last = time.perf_counter()
        self.end = self.began + seconds
        self.longest_gap = 0.0
        self.milliseconds: list[float] = []
        self.count = dict.fromkeys(("ok", "unavailable", "other", "broken", "timeouts"), 0)

    async def connection(self) -> None:
        """Ask until the end; where the connection breaks, open another."""
        while time.perf_counter() < self.end:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                try:
                    await self._ask(reader, writer)
                finally:
                    writer.close()
            except TimeoutError:
                self.count["timeouts"] += 1
            except (OSError, EOFError):
                self.count["broken"] += 1

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (asked := time.perf_counter()) < self.end:
            self.left -= 1
            if self.left <= 0:
                self.end = asked
            writer.write(next(self.requests))
            async with asyncio.timeout(TIMEOUT):
                status, headers = await _answer(reader)
            self._note(status, asked, time.perf_counter())
            if status == 503:
                remaining = max(0.0, self.end - time.perf_counter())
                await asyncio.sleep(min(remaining, float(headers.get("retry-after", 0))))

    def _note(self, status: int, asked: float, answered: float) -> None:
        self.count["ok" if status == 200 else "unavailable" if status == 503 else "other"] += 1
        self.longest_gap = max(self.longest_gap, answered - self.last)
        self.last = answered
        self.milliseconds.append(1000 * (answered - asked))

    def report(self) -> dict[str, float]:
        """What was asked before the end counts, and the time until it was answered."""
        end = max(self.end, self.last)
        answered = self.milliseconds or [0.0]
        figures = quantiles(answered * 2, n=100, method="inclusive")
        spread = {"p50": figures[49], "p99": figures[98], "longest": max(answered)}
        gap = max(self.longest_gap, end - self.last)
        return {"seconds": end - self.began} | self.count | spread | {"longest_gap": 1000 * gap}


async def _answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status and headers; the body is read and dropped."""
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    await reader.readexactly(int(headers.get("content-length", 0)))
    return int(status.split()[1]), headers


async def main(port: int, connections: int, seconds: float, file: str, most: float = inf) -> None:
    requests = Path(file).read_bytes().split(b"\0")[:-1]  # noqa: ASYNC240 - nothing else runs yet
    load = Load(port, seconds, cycle(requests), most)
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(load.connection())
    print(json.dumps(load.report()))


if __name__ == "__main__":
    port, connections, seconds, file, *most = sys.argv[1:]
    uvloop.run(main(int(port), int(connections), float(seconds), file, *map(float, most)))
