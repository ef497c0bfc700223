"""When a message that was refused is sent again, and when it is given up. Pure."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# 5 s, 20 s, 80 s, 5 min, 21 min, 85 min, then every 4 h: 24 tries in three days.
_FIRST_S, _FACTOR, _LONGEST_S = 5.0, 4.0, 14_400.0
_JITTER = 0.2
GIVE_UP_US = 3 * 86_400 * 1_000_000


def next_try_us(
    now_us: int,
    started_us: int,
    tries: int,
    *,
    chance: float,
    retry_after_s: float | None = None,
) -> int | None:
    """When to try again after `tries` failures, the first at `started_us`; None: give up.

    `chance`, from 0 to 1, spreads the tries of many. The last try is three days after the first;
    a receiver may ask to be left alone longer than planned, but not beyond that.
    """
    end_us = started_us + GIVE_UP_US
    if now_us >= end_us:
        return None
    planned_s = min(_FIRST_S * _FACTOR ** min(tries - 1, 10), _LONGEST_S)
    delay_s = planned_s * (1 - _JITTER + 2 * _JITTER * chance)
    if retry_after_s is not None:
        delay_s = max(delay_s, retry_after_s)
    return min(now_us + round(delay_s * 1e6), end_us)


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """How long a `Retry-After` asks to wait: seconds or a date; None if it says nothing."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())
