"""The schedule of retries, over three days, as a function of time."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.retrying import GIVE_UP_US, next_try_us, retry_after_s

SECOND = 1_000_000


def times(chance: float = 0.5) -> list[float]:
    """When one letter is tried, in seconds from its first try."""
    tried, now_us = [0], 0
    while (due_us := next_try_us(now_us, 0, len(tried), chance=chance)) is not None:
        tried.append(due_us)
        now_us = due_us
    return [at_us / SECOND for at_us in tried]


def test_the_schedule_is_the_documented_one_and_ends_after_exactly_three_days() -> None:
    tried = times()
    gaps = [round(after - before) for before, after in pairwise(tried)]
    assert gaps[:8] == [5, 20, 80, 320, 1_280, 5_120, 14_400, 14_400]
    assert tried[-1] == 3 * 86_400
    assert len(tried) == 25


@given(st.floats(0, 1), st.integers(1, 30))
def test_jitter_is_a_fifth_at_most(chance: float, tries: int) -> None:
    due_us = next_try_us(0, 0, tries, chance=chance)
    plain_us = next_try_us(0, 0, tries, chance=0.5)
    assert due_us is not None
    assert plain_us is not None
    assert 0.79 * plain_us <= due_us <= 1.21 * plain_us


@pytest.mark.parametrize(("asked_s", "due_s"), [(1, 5), (60, 60), (1e9, 3 * 86_400)])
def test_a_receiver_may_ask_for_more_time_but_not_for_more_than_three_days(
    asked_s: float, due_s: float
) -> None:
    assert next_try_us(0, 0, 1, chance=0.5, retry_after_s=asked_s) == due_s * SECOND


def test_after_the_last_try_there_is_none() -> None:
    assert next_try_us(GIVE_UP_US - 1, 0, 20, chance=0.5) == GIVE_UP_US
    assert next_try_us(GIVE_UP_US, 0, 20, chance=0.5) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120),
        (" 7 ", 7),
        ("Sun, 08 Mar 2026 12:01:00 GMT", 60),
        ("Sun, 08 Mar 2026 11:00:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("", None),
        ("9" * 400, 999_999_999),
    ],
)
def test_a_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, datetime(2026, 3, 8, 12, tzinfo=UTC)) == seconds
