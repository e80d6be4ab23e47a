"""As many transactions as there may be, open at once."""

import asyncio
from typing import Self

import anyio

from app.db.engine import REQUEST_CONNECTIONS
from app.web.session import Transactions


class Held:
    """Every place is taken until `end`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._end = anyio.Event()

    async def __aenter__(self) -> Self:
        held = [anyio.Event() for _ in range(REQUEST_CONNECTIONS)]
        self._tasks = [asyncio.create_task(self._hold(event)) for event in held]
        for event in held:
            await event.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._end.set()
        await asyncio.gather(*self._tasks)

    async def _hold(self, event: anyio.Event) -> None:
        async with self._transactions.begin():
            event.set()
            await self._end.wait()
