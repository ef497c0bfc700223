"""What charts are asked for, and how they are told."""

from typing import Literal

import msgspec
from pydantic import Field

from api.schemas.parameters import Query, Text, Time
from api.schemas.visits import zone_of
from tracking.charts import BucketName, Buckets
from tracking.store.charts import Series
from tracking.times import Moment

PositionMetric = Literal["speed_mps", "battery", "distance_m"]


class ChartQuery(Query):
    """What to draw."""

    start: Time = Field(alias="from", description="First time, included")
    end: Time = Field(alias="to", description="Last time, excluded")
    metric: list[Text] | None = Field(
        None, max_length=50, description="Measured by sensors; repeat for several, all without it"
    )
    position: list[PositionMetric] | None = Field(
        None, max_length=3, description="Told by ok fixes; repeat for several, none without it"
    )
    bucket: Literal["auto", "1m", "5m", "15m", "1h", "1d"] = Field(
        "auto", description="The finest with at most 300 buckets, unless it is named"
    )
    time_zone: Text = Field("UTC", description="Of the days, an IANA name")

    def buckets(self) -> Buckets:
        """The buckets.

        Raises:
            Problem: 422, there is no such time zone.
            InputError: they would be too many.
        """
        name: BucketName | None = None if self.bucket == "auto" else self.bucket
        return Buckets(self.start, self.end, name, zone_of(self.time_zone))


class Curve(msgspec.Struct, frozen=True):
    """A metric by bucket; null where there were no readings, so that a gap is seen as one."""

    n: list[int]
    mean: list[float | None]
    min: list[float | None]
    max: list[float | None]

    @classmethod
    def of(cls, series: Series, length: int) -> "Curve":
        """A series of that many buckets."""
        found = [series.get(number) for number in range(length)]
        return cls(
            [one.n if one else 0 for one in found],
            [_rounded(one.mean) if one else None for one in found],
            [_rounded(one.low) if one else None for one in found],
            [_rounded(one.high) if one else None for one in found],
        )


class Chart(msgspec.Struct, frozen=True):
    """What a device measured and how it moved, by bucket. `starts` are those of the buckets.

    They are whole, so the first may begin before `from` and the last end behind `to`. `distance_m`
    is what it moved in each, in steps of 25 m or more; null without one.
    """

    device: str
    bucket: BucketName
    time_zone: str
    starts: list[Moment]
    measurements: dict[str, Curve]
    positions: dict[str, Curve]
    distance_m: list[float | None] | None


def _rounded(value: float) -> float:
    return round(value, 6)
