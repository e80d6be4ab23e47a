"""What hashing needs of the machine: a lack of it is an outage, and never a wrong password."""

import os
import subprocess
import sys
from typing import Any

import argon2
import pytest

from app.core.errors import ServiceUnavailable
from app.core.settings import REPOSITORY
from app.identity.passwords import HashingBusy, hash_password, verify_password

PASSWORD = "correct horse battery staple"


OUT_OF_MEMORY = """
import resource
from app.identity.hashing import HashingBusy, hash_password, verify_password

stored = hash_password("right")
with open("/proc/self/statm") as sizes:
    in_use = int(sizes.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use + 2**25, in_use + 2**25))
for work in (
    lambda: hash_password("right"), lambda: verify_password("right", stored), lambda: verify_password("right", None)
):
    try:
        print(work())
    except HashingBusy as refusal:
        print("busy", refusal.__suppress_context__)
"""


def printed_by(code: str) -> list[str]:
    """What a process of its own prints."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "backend")}
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.check_output(command, env=environment, text=True, timeout=60).splitlines()


def test_out_of_memory_is_no_wrong_password() -> None:
    """Nor does the refusal drag the hash along, which passlib puts into its error."""
    assert printed_by(OUT_OF_MEMORY) == ["busy True"] * 3


@pytest.mark.parametrize(
    "error", [MemoryError(), argon2.exceptions.VerificationError("Threading failure")], ids=["python", "threads"]
)
def test_nor_are_other_shortages(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    stored = hash_password(PASSWORD)

    def exhausted(*_: Any) -> bool:
        raise error

    monkeypatch.setattr(argon2.low_level, "verify_secret", exhausted)
    with pytest.raises(HashingBusy) as refused:
        verify_password(PASSWORD, stored)
    assert isinstance(refused.value, ServiceUnavailable)
    assert refused.value.headers == {"Retry-After": "2"}


def test_another_error_of_argon2_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: Any) -> bytes:
        raise argon2.exceptions.HashingError("Unknown error code")

    monkeypatch.setattr(argon2.low_level, "hash_secret", broken)
    with pytest.raises(ValueError, match="Unknown error code"):
        hash_password(PASSWORD)


def test_the_backend_is_chosen_before_the_first_hash() -> None:
    """By passlib's own account: choosing rewrites its class, under the feet of other threads."""
    code = "import app.identity.hashing; from passlib.hash import argon2; print(argon2.__mro__[1].__name__)"
    assert printed_by(code) == ["_CffiBackend"]
