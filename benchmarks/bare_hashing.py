"""`python -m benchmarks.bare_hashing SECONDS`: how many passwords a second so many threads as CPUs can verify."""

import os
import sys
import threading
import time

from app.identity.hashing import hash_password, verify_password
from benchmarks.cpus import ALL_CPUS

PASSWORD = "seldom-otter-viaduct-42"


def verified(seconds: float) -> float:
    """A second."""
    stored = hash_password(PASSWORD)
    rates: list[float] = []

    def verify_on() -> None:
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            verify_password(PASSWORD, stored)
            count += 1
        rates.append(count / (time.perf_counter() - began))

    threads = [threading.Thread(target=verify_on) for _ in range(len(ALL_CPUS) or os.cpu_count() or 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(rates)


if __name__ == "__main__":
    print(verified(float(sys.argv[1])))
