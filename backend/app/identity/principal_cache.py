"""What the database said of tokens, for as long as nothing it depends on has changed."""

import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from app.identity.permissions import CredentialKind
from app.identity.principal import Principal

MAX_ENTRIES: Final = 16_384
MAX_WEIGHT: Final = 64 * 1024 * 1024
"""Bytes, about; what users keep in their preferences decides."""

_WEIGHT: Final = 2048
"""Bytes of a principal without preferences."""

_VALUE_WEIGHT: Final = 64
"""Bytes of a value in them, beside what its text has."""

_MAX_REMEMBERED: Final = 1024


class Use(NamedTuple):
    """That a credential was used, and when by the steady clock."""

    kind: CredentialKind
    credential_id: int
    at: float


class Question(NamedTuple):
    """That the database is asked about a token; made before it is."""

    asked_at: float
    epoch: int


@dataclass(slots=True)
class _Entry:
    principal: Principal
    deadline: float
    weight: int
    used_at: float | None = None
    """None once that was taken note of."""
    is_recent: bool = False
    """Whether it was used since its eviction was last considered."""


class PrincipalCache:
    """Principals by the digest of their token; one for each process.

    `get` is called by the event loop, `forget` by whatever hears of revocations. An answer that the database gave
    before a revocation was heard is not kept: the epoch, which each revocation advances, tells.
    """

    def __init__(self, is_current: Callable[[float], bool] = lambda _: False) -> None:
        """`is_current(now)` says whether every revocation up to a moment before has been heard."""
        self.is_current = is_current
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._digests: dict[int, set[bytes]] = {}
        self._weight = 0
        self._uses: dict[tuple[CredentialKind, int], float] = {}
        self._lock = threading.Lock()
        self._epoch = 0
        self._everybody_forgotten = 0
        self._forgotten: dict[int, int] = {}
        """The epochs in which users were forgotten of late."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def epoch(self) -> int:
        return self._epoch

    def get(self, digest: bytes, now: float) -> Principal | None:
        """What is known of the token at `now`, by the steady clock."""
        # Asked first: while revocations catch up with the lease, an entry that was read before may be one they drop.
        if not self.is_current(now):
            return None
        entry = self._entries.get(digest)
        if entry is None or now >= entry.deadline:
            return None
        entry.used_at = now
        entry.is_recent = True
        return entry.principal

    def has_forgotten(self, user_id: int, since: int) -> bool:
        """Whether something about the user or its credentials may have changed since that epoch."""
        with self._lock:
            return max(self._everybody_forgotten, self._forgotten.get(user_id, 0)) > since

    def ask(self, now: float) -> Question:
        return Question(now, self._epoch)

    def keep(self, digest: bytes, question: Question, principal: Principal, lives_for: float) -> None:
        """Keep an answer for `lives_for` seconds from when it was asked for, unless it may be out of date already."""
        entry = _Entry(principal, question.asked_at + lives_for, _weight(principal))
        user_id = principal.user.id
        with self._lock:
            forgotten = max(self._everybody_forgotten, self._forgotten.get(user_id, 0))
            if forgotten > question.epoch or entry.weight > MAX_WEIGHT:
                return
            self._drop(digest)
            while len(self._entries) >= MAX_ENTRIES or self._weight + entry.weight > MAX_WEIGHT:
                self._evict_one()
            self._entries[digest] = entry
            self._digests.setdefault(user_id, set()).add(digest)
            self._weight += entry.weight

    def forget(self, user_id: int) -> None:
        """Something about the user or its credentials has changed."""
        with self._lock:
            self._epoch += 1
            if len(self._forgotten) >= _MAX_REMEMBERED:
                self._forgotten.clear()
                self._everybody_forgotten = self._epoch
            self._forgotten[user_id] = self._epoch
            for digest in tuple(self._digests.get(user_id, ())):
                self._drop(digest)

    def forget_everybody(self) -> None:
        with self._lock:
            self._epoch += 1
            self._everybody_forgotten = self._epoch
            self._forgotten.clear()
            self._collect_all()
            self._entries.clear()
            self._digests.clear()
            self._weight = 0

    def note_use(self, principal: Principal, now: float) -> None:
        """Of a credential that is not, or not yet, in here."""
        with self._lock:
            self._uses[principal.kind, principal.credential_id] = now

    def take_uses(self) -> list[Use]:
        """The uses since this was asked last."""
        with self._lock:
            self._collect_all()
            uses, self._uses = self._uses, {}
        return [Use(kind, credential_id, at) for (kind, credential_id), at in uses.items()]

    def _drop(self, digest: bytes) -> None:
        entry = self._entries.pop(digest, None)
        if entry is None:
            return
        self._weight -= entry.weight
        self._collect(entry)
        user_id = entry.principal.user.id
        digests = self._digests[user_id]
        digests.discard(digest)
        if not digests:
            del self._digests[user_id]

    def _evict_one(self) -> None:
        """The oldest that was not used since its turn came last (CLOCK)."""
        digest = next(iter(self._entries))
        entry = self._entries[digest]
        if entry.is_recent:
            entry.is_recent = False
            self._entries.move_to_end(digest)
        else:
            self._drop(digest)

    def _collect_all(self) -> None:
        for entry in self._entries.values():
            self._collect(entry)

    def _collect(self, entry: _Entry) -> None:
        if entry.used_at is not None:
            self._uses[entry.principal.kind, entry.principal.credential_id] = entry.used_at
            entry.used_at = None


def _weight(principal: Principal) -> int:
    preferences = json.dumps(principal.user.preferences)
    return _WEIGHT + len(preferences) + _VALUE_WEIGHT * sum(map(preferences.count, "[{:,"))
