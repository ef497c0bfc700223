"""What goes into the fold and what comes out."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from tracking.quality import Quality


class Fix(NamedTuple):
    """One stored fix, as the fold sees it.

    `quality` is what the fix deserves by itself; the fold may lower an OK. `speed_mps` and
    `accuracy_m` are NaN where the device gave none. x, y, z: see `geofence.geodesy.ecef`.
    """

    time_us: int
    seq: int
    quality: int
    lon: float
    lat: float
    speed_mps: float
    accuracy_m: float
    x: float
    y: float
    z: float


@dataclass(frozen=True, slots=True)
class Rules:
    """Thresholds of the fold. The defaults suit road vehicles and ships."""

    # 70 m/s is 252 km/h: above any truck, van, ship or train a tracker rides on.
    max_speed_mps: float = 70.0
    # Any step this short passes the speed test: GPS scatter within one second.
    speed_slack_m: float = 50.0
    # A run of this many impossible fixes that agree with each other is where the device is.
    suspects_needed: int = 3
    # A fix bit-identical in place that claims at least this speed is a stuck receiver.
    static_speed_mps: float = 3.0
    # A stop is a stay of `stop_s` within `stay_radius_m`; scatter of 10 m sigma stays inside.
    stay_radius_m: float = 50.0
    stop_s: float = 180.0
    # A departure is two fixes in a row, or one four radii away, outside this radius. Wider than
    # the stay's, so that a parked device does not flap.
    depart_radius_m: float = 100.0
    # A stop this long ends the trip; a shorter one is a stop on the way.
    trip_stop_s: float = 300.0
    # Moving and then unheard for this long: the trip ended where it was last seen.
    gap_s: float = 1_800.0


class Fact(NamedTuple):
    """An event the fold raised, before it is given a tenant, a subject and an id.

    `time_us` is when it happened; the fix (`confirmed_us`, `confirmed_seq`) made the fold sure.
    `rule` is the id of the fence it is about, part of its identity; empty for the others.
    """

    type: str
    time_us: int
    confirmed_us: int
    confirmed_seq: int
    data: dict[str, Any]
    rule: str = ""


class Verdict(NamedTuple):
    """The fold's answer to one fix."""

    quality: Quality
    facts: list[Fact]
