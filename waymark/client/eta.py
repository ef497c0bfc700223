"""How right forecasts of arrival were."""

from datetime import datetime
from typing import Literal

import msgspec

from waymark.client.calls import Call, Noun, Way, operation, path


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
