"""How long guessing takes, and how short a stranger can delay an owner."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from tracking.guessing import Guesses, charge, wait_s

NOW = datetime(2026, 3, 8, 12, tzinfo=UTC)
DAY_S = 86_400


class Siege(NamedTuple):
    """How often could be guessed, and how long the owner had to wait at most."""

    n: int
    longest_s: float


def siege(for_s: float, *, addresses: int = 1, owner: Guesses | None = None) -> Siege:
    """Guess as often as is let; the owner is at an address nobody guesses from."""
    here = [Guesses() for _ in range(addresses)]
    anywhere, n, longest_s, now_s = Guesses(), 0, 0.0, 0.0
    while now_s < for_s:
        now, waits = NOW + timedelta(seconds=now_s), []
        for index in range(addresses):
            charged = charge(here[index], anywhere, now)
            waits.append(charged.wait_s)
            if charged.wait_s == 0:
                here[index], anywhere, n = charged.here, charged.anywhere, n + 1
        longest_s = max(longest_s, charge(owner or Guesses(), anywhere, now).wait_s)
        now_s += min(waits) or 0.001
    return Siege(n, longest_s)


def test_the_first_five_are_free_and_then_the_wait_doubles_up_to_five_minutes() -> None:
    waits = [wait_s(failed) for failed in range(1, 18)]
    assert waits == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300]
    assert wait_s(10**9) == 300


def test_from_one_address_some_three_hundred_guesses_a_day_are_possible() -> None:
    assert 250 < siege(DAY_S).n < 320


def test_from_a_hundred_addresses_it_is_one_a_minute_after_the_first_few() -> None:
    assert 300 < siege(DAY_S / 4, addresses=100).n < 20 + DAY_S / 4 / 60 + 20


def test_a_stranger_delays_the_owner_by_a_minute_and_not_where_they_were_known() -> None:
    assert 0 < siege(3_600, addresses=30).longest_s <= 60
    known = Guesses(trusted_until=NOW + timedelta(days=30))
    assert siege(3_600, addresses=30, owner=known).longest_s == 0


def test_a_guess_that_comes_too_early_changes_nothing() -> None:
    waiting = Guesses(failed=9, retry_at=NOW + timedelta(seconds=16))
    assert charge(waiting, Guesses(), NOW) == (waiting, Guesses(), 16)


def test_a_known_address_waits_for_its_own_wrong_guesses_all_the_same() -> None:
    known = Guesses(trusted_until=NOW + timedelta(days=1))
    for _ in range(5):
        known = charge(known, Guesses(), NOW).here
    assert charge(known, Guesses(), NOW).wait_s == 1
