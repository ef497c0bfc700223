"""How long whoever guesses passwords must wait. Pure; the counts are kept by `store.guesses`.

Guesses are counted twice: per account and address, and per account whatever the address. The
second is what many machines share, so its wait is short, and an address from which the account
was signed in lately is exempt: a stranger delays the owner by a minute, and not at home.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

_FREE = 5
_LONGEST_S = 300
_FREE_ANYWHERE = 20
_LONGEST_ANYWHERE_S = 60
# What was counted is forgotten this long after the last guess.
FORGET_AFTER = timedelta(days=1)
TRUSTED_FOR = timedelta(days=30)


class Guesses(NamedTuple):
    """What is known of one counter."""

    failed: int = 0
    retry_at: datetime | None = None
    trusted_until: datetime | None = None


class Charged(NamedTuple):
    """The counters after a guess that may be made, or how long it must wait."""

    here: Guesses
    anywhere: Guesses
    wait_s: float = 0.0


def wait_s(failed: int, *, free: int = _FREE, longest_s: int = _LONGEST_S) -> int:
    """The wait after so many wrong guesses: none at first, then 1 s, doubled each time."""
    return 0 if failed < free else min(2 ** min(failed - free, 30), longest_s)


def charge(here: Guesses, anywhere: Guesses, now: datetime) -> Charged:
    """Count a guess before it is looked at, so that many at once are no way around the wait.

    One that comes too early is not counted, and does not make the wait longer.
    """
    trusted = here.trusted_until is not None and now < here.trusted_until
    waits = [here.retry_at, None if trusted else anywhere.retry_at]
    left_s = max(((at - now).total_seconds() for at in waits if at is not None), default=0.0)
    if left_s > 0:
        return Charged(here, anywhere, left_s)
    return Charged(
        _counted(here, now, _FREE, _LONGEST_S),
        anywhere if trusted else _counted(anywhere, now, _FREE_ANYWHERE, _LONGEST_ANYWHERE_S),
    )


def _counted(guesses: Guesses, now: datetime, free: int, longest_s: int) -> Guesses:
    failed = guesses.failed + 1
    wait = timedelta(seconds=wait_s(failed, free=free, longest_s=longest_s))
    return guesses._replace(failed=failed, retry_at=now + wait)
