"""How often somebody may ask: the generic cell rate algorithm, decided in this process.

Whoever asks is let in or not at once, by what is known here; what was let in is told to Redis
moments later and the sum of all processes comes back (`tracking.feed.rates`). So no request waits
for Redis, any number of processes share one quota, and what several let in at the same moment
beyond it is a debt that is paid by waiting longer. Without Redis each process keeps its own count.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

# The idle are forgotten this often; a look at all takes 15 ms.
_SWEEP_S = 10.0
# So many are remembered at once; each is some 200 bytes.
_REMEMBERED = 100_000


class Quota(NamedTuple):
    """So many in any so many seconds."""

    limit: int
    window_s: float = 60.0


class Verdict(NamedTuple):
    """Whether one is let in, how many more would be now, and when all of them would be.

    `retry_s` tells who was not let in when to come back.
    """

    admitted: bool
    remaining: int
    reset_s: float
    retry_s: float = 0.0


class Charge(NamedTuple):
    """What somebody used here since it was last told, in seconds of their quota."""

    kind: str
    who: str
    used_s: float


class _Account:
    """When somebody's quota is whole again, and the part of their use that was not told yet."""

    __slots__ = ("told_s", "untold_s", "whole_at")

    def __init__(self, whole_at: float) -> None:
        self.whole_at = whole_at
        self.untold_s = 0.0
        # On its way: it comes back when it could not be told.
        self.told_s = 0.0


class Rates:
    """The quotas of one process. A kind without a quota, or with one of 0, lets everybody in."""

    def __init__(
        self, quotas: Mapping[str, Quota], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.quotas = {kind: quota for kind, quota in quotas.items() if quota.limit > 0}
        self._clock = clock
        self._accounts: dict[tuple[str, str], _Account] = {}
        self._used: set[tuple[str, str]] = set()
        self._swept_at = clock()

    def take(self, kind: str, who: str) -> Verdict | None:
        """Let one in or not; None where there is no quota. One that is not let in costs nothing."""
        quota = self.quotas.get(kind)
        if quota is None:
            return None
        now = self._clock()
        key = (kind, who)
        account = self._accounts.get(key)
        if account is None:
            account = self._opened(key, now)
        limit, window_s = quota
        one_s = window_s / limit
        whole_at = max(account.whole_at, now) + one_s
        # A share of a microsecond, as sums of shares are not exact.
        over_s = whole_at - now - window_s - 1e-7
        if over_s > 0:
            return Verdict(False, 0, account.whole_at - now, over_s)  # noqa: FBT003 -- by its name
        account.whole_at = whole_at
        account.untold_s += one_s
        self._used.add(key)
        used_s = whole_at - now
        return Verdict(True, int((window_s - used_s) / one_s + 1e-6), used_s)  # noqa: FBT003

    def look(self, kind: str, who: str) -> Verdict | None:
        """As `take` would decide, without taking."""
        quota, account = self.quotas.get(kind), self._accounts.get((kind, who))
        if quota is None or account is None:
            return None
        one_s = quota.window_s / quota.limit
        used_s = max(account.whole_at - self._clock(), 0.0)
        over_s = used_s + one_s - quota.window_s - 1e-7
        remaining = max(int((quota.window_s - used_s) / one_s + 1e-6), 0)
        return Verdict(over_s <= 0, remaining, used_s, max(over_s, 0.0))

    def charges(self) -> list[Charge]:
        """What was used since they were last asked for; `settle` or `restore` must follow."""
        told = []
        for key in self._used:
            account = self._accounts[key]
            account.told_s, account.untold_s = account.untold_s, 0.0
            told.append(Charge(*key, account.told_s))
        self._used.clear()
        return told

    def settle(self, charges: Sequence[Charge], used_s: Sequence[float]) -> None:
        """Take over what all processes together have used, these charges included."""
        now = self._clock()
        for charge, total_s in zip(charges, used_s, strict=True):
            account = self._accounts.get(charge[:2])
            if account is not None:
                account.whole_at = now + total_s + account.untold_s
                account.told_s = 0.0
        self._forget_idle(now)

    def restore(self, charges: Sequence[Charge]) -> None:
        """Keep charges that could not be told for the next time."""
        for charge in charges:
            account = self._accounts.get(charge[:2])
            # What has been paid off meanwhile is nobody's business any more.
            if account is not None and account.whole_at > self._clock():
                account.untold_s += account.told_s
                account.told_s = 0.0
                self._used.add(charge[:2])
        self._forget_idle(self._clock())

    def _opened(self, key: tuple[str, str], now: float) -> _Account:
        if len(self._accounts) >= _REMEMBERED:
            # More than can be remembered ask at once: those that asked first begin anew.
            for oldest in list(self._accounts)[: _REMEMBERED // 10]:
                del self._accounts[oldest]
                self._used.discard(oldest)
        account = self._accounts[key] = _Account(now)
        return account

    def _forget_idle(self, now: float) -> None:
        if now < self._swept_at + _SWEEP_S:
            return
        self._swept_at = now
        idle = [
            key
            for key, account in self._accounts.items()
            if account.whole_at <= now and key not in self._used
        ]
        for key in idle:
            del self._accounts[key]
