"""When shipments will be where, and how right such forecasts were."""

from datetime import datetime
from typing import Literal

import msgspec

from waymark.client.calls import Call, Noun, Way, operation, path


class StopEta(msgspec.Struct, frozen=True, kw_only=True):
    """When a stop will be reached and left.

    `arrive`, between `early` and `late`, and `depart` are for people: whole minutes that move when
    it is worth it. p10, p50 and p90 are the forecast as it is now.
    """

    stop: int
    arrive: datetime
    early: datetime
    late: datetime
    depart: datetime
    p10: datetime
    p50: datetime
    p90: datetime


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What is expected of a shipment.

    `state` is `expected`; `last_seen` when whoever carries it has been quiet for too long;
    `unknown`; `over`. Only of `expected` are there times. `because` says why they were last told
    anew; `at_risk` are the stops whose window it will hardly keep.
    """

    state: str
    as_of: datetime | None = None
    told_at: datetime | None = None
    reason: str | None = None
    because: str | None = None
    path: str | None = None
    remaining_m: float | None = None
    stops: list[StopEta] = []
    at_risk: list[int] = []
    model: int | None = None

    def of(self, stop: int) -> StopEta | None:
        """What is expected of a stop."""
        return next((one for one in self.stops if one.stop == stop), None)


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """How right the forecasts of one group were; None where there was nothing to compare.

    Errors are forecast minus arrival. `prior_mae_s` is what distance over speed would have said,
    `ratio` the one error as a part of the other, `coverage` how many came within their range.
    """

    key: str
    forecasts: int
    arrivals: int
    mae_s: float | None = None
    median_s: float | None = None
    p90_s: float | None = None
    bias_s: float | None = None
    mape: float | None = None
    coverage: float | None = None
    width_s: float | None = None
    prior_mae_s: float | None = None
    ratio: float | None = None


class Accuracy(msgspec.Struct, frozen=True, kw_only=True, rename={"start": "from", "end": "to"}):
    """How right forecasts were, by group and all together; `groups` is how many there are."""

    items: list[Score]
    by: str
    start: datetime
    end: datetime
    groups: int
    total: Score
    left_out: dict[str, int]


class Eta(Noun[Way]):
    """`/v1/eta`."""

    @operation
    def accuracy(
        self,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        by: Literal["horizon", "lane", "hour", "path", "model", "legs"] = "horizon",
    ) -> Call[Accuracy]:
        """How right the forecasts made in a time were, a week if none is given."""
        params = {"from": start, "to": end, "by": by}
        return Call("GET", path("eta", "accuracy"), Accuracy, params)
