"""What is asked about forecasts of arrival, and how it is told."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pydantic import Field

from api.conventions.answers import Page
from api.schemas.parameters import MAX_ITEMS, Selected, Time, check_range
from tracking.eta.accuracy import Accuracy, GroupBy, LeftOut, Score
from tracking.times import Moment

# Without `from`; of ten thousand shipments a day this is some seconds' work.
_DAYS = 7


class Span(NamedTuple):
    """[start, end) of the times at which forecasts were made."""

    start: datetime
    end: datetime

    @classmethod
    def of(cls, start: datetime | None, end: datetime | None) -> "Span":
        """The time meant where one end or both are left open: the last week."""
        end = end or datetime.now(UTC)
        return cls(start or end - timedelta(days=_DAYS), end)


class AccuracyQuery(Selected):
    """Which forecasts, and by what to tell them apart."""

    start: Time | None = Field(
        None, alias="from", description=f"Forecasts made from then on; {_DAYS} days before `to`"
    )
    end: Time | None = Field(None, alias="to", description="Forecasts made before; now")
    by: GroupBy = Field(
        "horizon",
        description="How far ahead, from where to where, hour of the day at the stop, ...",
    )
    limit: int = Field(100, ge=1, le=MAX_ITEMS, description="Groups, those with most arrivals")

    def span(self) -> Span:
        """The time meant.

        Raises:
            Problem: 422, it ends before it starts.
        """
        span = Span.of(self.start, self.end)
        check_range(*span)
        return span


class AccuracyReport(Page[Score], frozen=True, rename={"start": "from", "end": "to"}):
    """How right forecasts were, by group and all together; there is no second page.

    `groups` tells how many groups there are.
    """

    by: GroupBy
    start: Moment
    end: Moment
    groups: int
    total: Score
    left_out: LeftOut


def report_of(by: GroupBy, span: Span, found: Accuracy, limit: int) -> AccuracyReport:
    """A report of at most `limit` groups, in the order of `found`."""
    most = {score.key for score in sorted(found.groups, key=lambda s: -s.arrivals)[:limit]}
    return AccuracyReport(
        [score for score in found.groups if score.key in most],
        None,
        by=by,
        start=span.start,
        end=span.end,
        groups=len(found.groups),
        total=found.total,
        left_out=found.left_out,
    )
