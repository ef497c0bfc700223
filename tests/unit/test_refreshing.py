"""What a refresh token is worth, and when."""

from datetime import UTC, datetime, timedelta

import pytest

from tracking.refreshing import (
    GRACE,
    PREFIX,
    Presented,
    judge,
    new_refresh_token,
    successor_of,
)
from tracking.seal import Seal

NOW = datetime(2026, 3, 8, 12, tzinfo=UTC)
DAY = timedelta(days=1)
FRESH = Presented(
    expires_at=NOW + DAY,
    spent_at=None,
    successor=None,
    successor_spent=False,
    successor_expires_at=None,
    session_ends_at=NOW + 5 * DAY,
    session_ended=False,
)
SPENT = FRESH._replace(spent_at=NOW, successor=b"next", successor_expires_at=NOW + DAY)


@pytest.mark.parametrize(
    ("token", "after", "verdict"),
    [
        (FRESH, timedelta(0), "rotate"),
        (FRESH, DAY - timedelta(seconds=1), "rotate"),
        (FRESH, DAY, "over"),
        (FRESH._replace(session_ends_at=NOW + timedelta(hours=1)), timedelta(hours=1), "over"),
        (FRESH._replace(session_ended=True), timedelta(0), "over"),
        (SPENT, timedelta(0), "repeat"),
        (SPENT, GRACE, "repeat"),
        (SPENT, GRACE + timedelta(microseconds=1), "reused"),
        (SPENT._replace(successor_spent=True), timedelta(0), "reused"),
        (SPENT._replace(successor=b"of another secret"), timedelta(0), "over"),
        # What has ended has ended, and nobody's session is ended for it again.
        (SPENT, DAY, "over"),
        (SPENT._replace(session_ended=True), timedelta(hours=1), "over"),
    ],
)
def test_a_token_is_judged_by_its_past_alone(
    token: Presented, after: timedelta, verdict: str
) -> None:
    assert judge(token, b"next", NOW + after) == verdict


def test_a_successor_follows_from_the_token_and_the_secret() -> None:
    seal, other = Seal("a secret key of a test, long enough"), Seal("another secret, also long")
    first = new_refresh_token()
    second = successor_of(first, seal)
    assert second == successor_of(first, seal)
    assert second.startswith(PREFIX)
    assert len(second) == len(first)
    chain = {first, second, successor_of(second, seal), successor_of(first, other)}
    assert len(chain) == 4
