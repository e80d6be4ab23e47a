"""The web layer alone: small apps, and a real server for them."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import uvicorn
from fastapi import FastAPI

MakeApp = Callable[..., FastAPI]


@contextmanager
def served(app: FastAPI, http: Literal["h11", "httptools"], root_path: str = "") -> Iterator[int]:
    """The local port on which uvicorn serves `app` meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, http=http, root_path=root_path, lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            deadline = time.monotonic() + 10
            while not server.started:
                assert time.monotonic() < deadline, "uvicorn did not start"
                time.sleep(0.01)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(10)
            assert not thread.is_alive(), "uvicorn did not stop"
