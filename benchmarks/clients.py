"""Clients that keep their connection, for who asks again and again."""

import asyncio
from collections.abc import Iterable
from http.client import HTTPConnection, HTTPException

ME = "/api/users/me"
PATIENCE = 10.0


class Client:
    """Asks a replica whether it honours a token; for one thread."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)

    def ask(self, token: str, method: str = "GET", path: str = ME) -> int:
        """The status; 0 where the connection broke, and the next question opens another."""
        try:
            self._connection.request(method, path, headers={"Authorization": f"Bearer {token}"})
            with self._connection.getresponse() as answer:
                answer.read()
                return answer.status
        except (OSError, HTTPException):
            self.close()
            return 0

    def close(self) -> None:
        self._connection.close()


async def ask_in_turn(port: int, tokens: Iterable[str]) -> None:
    """Ask who each of the tokens stands for, one after the other on one connection; RuntimeError if one is refused."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for token in tokens:
        request = f"GET {ME} HTTP/1.1\r\nHost: benchmark\r\nAuthorization: Bearer {token}\r\n\r\n"
        writer.write(request.encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"answered {head.decode()}")
        await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]))
    writer.close()
    await writer.wait_closed()
