"""What lies ahead of a shipment: when it will come to each stop and leave it. Pure.

From here to the next stop, or first the rest of its stay where it stands, then stop by stop. What
each part may be off by adds up as independent errors do.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from h3.api import numpy_int as h3

from tracking.estimates import PathKind
from tracking.eta.engine import Engine, Leg
from tracking.eta.nearby import Place
from tracking.eta.pace import Path
from tracking.eta.spread import Spread
from tracking.schedules import calendar
from tracking.shipments import Plan, Record, Stop, ahead, place_name
from tracking.timetable import leaves_at, leg_planned_s

# What a stay takes whose plan does not say, and how far one may be off: in parts of it.
USUAL_STAY_S = 300.0
_SHORT, _LONG = 0.5, 1.75
# Who has stayed longer than planned, or stands where nothing is planned, goes on for this part of
# the time, and for all of it at p90: how long is not known but by how long it has been.
EXCESS = 0.5
# A light or a queue is less.
_STANDS_S = 300.0


class Here(NamedTuple):
    """Where something was seen, and when, in Unix seconds; it has been around there for so long."""

    place: Place
    time_s: float
    still_s: float = 0.0


class Site(NamedTuple):
    """Where a stop is: who is within `radius_m` of the place has arrived."""

    place: Place
    radius_m: float


class Given(NamedTuple):
    """A way to where a stop begins, from where the shipment is or from the stop before.

    `part` is how much of all the way from the stop before that is; None: it is not known.
    """

    kind: PathKind
    path: Path
    length_m: float
    part: float | None = None


class Ahead(NamedTuple):
    """A stop still ahead.

    Attributes:
        legs: 1: it is next.
        left_m, driving_s, staying_s: all the way there, driving and at stops before it, by p50.
        usual_s: the driving as plain distance or the plan alone have it; like `trips`, in how many
            trips like it what it really takes was seen, of the leg that leads there.
        leg_m: of that leg; `path` is what it follows.
        lane: names of the places between which the leg runs; None: it began nowhere in particular.
    """

    stop: int
    arrive: Spread
    leave: Spread
    legs: int
    left_m: float
    driving_s: float
    staying_s: float
    usual_s: float
    trips: float
    leg_m: float
    path: PathKind
    lane: tuple[str, str] | None


class Itinerary(NamedTuple):
    """What is ahead, in order, and when the stop it is at will be left.

    `waited_s` is for how long it has been staying although nothing was planned any more.
    """

    leave: Spread | None
    ahead: list[Ahead]
    waited_s: float = 0.0


def itinerary(
    plan: Plan,
    record: Record,
    sites: Sequence[Site | None],
    here: Here,
    *,
    engine: Engine,
    ways: Mapping[int, Given],
) -> Itinerary:
    """When each stop ahead that is somewhere will be reached; `ways` by the stop they lead to.

    Without a way it is as the crow flies, and the engine knows the usual detour.
    """
    moment, waited_s = _sets_off(plan, record, here)
    leave = None if record.at_stop is None else moment
    place, since = here.place, left_last(record) if record.at_stop is None else record.at_stop
    left_m = driving_s = usual_s = 0.0
    found: list[Ahead] = []
    for stop in ahead(plan, record):
        site, planned, way = sites[stop], plan.stops[stop], ways.get(stop)
        if site is None:
            continue
        lane = None if since is None else lane_of(plan.stops[since], planned)
        leg = _leg(place, site, way, lane)
        if since is not None:
            whole_s = leg_planned_s(plan, since, stop)
            if whole_s is not None and not found and record.at_stop is None:
                whole_s *= _part_ahead(place, sites[since], site, way)
            leg = leg._replace(planned_s=whole_s)
        told = engine.forecast(leg, moment.p50_s)
        left_m, driving_s = left_m + leg.left_m, driving_s + told.p50_s
        usual_s += told.prior_s
        arrive = moment.plus(Spread(told.p10_s, told.p50_s, told.p90_s))
        if record.status == "planned" and not found and (start := _start_s(planned)) is not None:
            # Nobody sets off for a pickup as soon as it is attached; the plan says when.
            arrive = arrive.not_before(start)
        moment, place, since = _served_and_left(plan, planned, arrive), site.place, stop
        found.append(
            Ahead(
                stop, arrive, moment, len(found) + 1, left_m, driving_s,
                arrive.p50_s - here.time_s - driving_s, usual_s, told.trips, leg.left_m,
                "detour" if way is None else way.kind, lane,
            )
        )  # fmt: skip
    return Itinerary(leave, found, waited_s)


def lane_of(since: Stop, to: Stop) -> tuple[str, str]:
    """Names of the places between which a leg runs."""
    return place_name(since), place_name(to)


def stay(stop: Stop, *, timetable: bool) -> Spread:
    """How long who serves a stop stays there; nobody stays at a via unless it is planned.

    A timetable says it of all stops.
    """
    usual_s = stop.service_s or (0.0 if timetable or stop.kind == "via" else USUAL_STAY_S)
    return Spread(_SHORT * usual_s, usual_s, _LONG * usual_s)


def _sets_off(plan: Plan, record: Record, here: Here) -> tuple[Spread, float]:
    """When it goes on from where it is, and for how long it should have done so by now."""
    if record.at_stop is not None:
        return _leaving(plan, plan.stops[record.at_stop], record, here.time_s)
    waited_s = here.still_s if here.still_s >= _STANDS_S else 0.0
    return _goes_on(here.time_s, Spread.at(0.0), waited_s), waited_s


def _leaving(plan: Plan, stop: Stop, record: Record, now_s: float) -> tuple[Spread, float]:
    """When the stop it is at will be left, and for how long it should have been by now."""
    became = record.stops[record.at_stop or 0]
    # It may have been here before.
    here_s = max(record.since, became.arrived_at or record.since).timestamp()
    served_s = _served_s(plan, stop, here_s)
    if now_s < served_s:
        return _served_and_left(plan, stop, Spread.at(served_s)), 0.0
    whole = stay(stop, timetable=plan.timetable)
    elapsed_s = now_s - served_s
    left = whole.mapped(lambda planned_s: max(planned_s - elapsed_s, 0.0))
    excess_s = max(elapsed_s - whole.p50_s, 0.0)
    return _not_before_planned(plan, stop, _goes_on(now_s, left, excess_s)), excess_s


def _goes_on(now_s: float, left: Spread, excess_s: float) -> Spread:
    """When a stay ends of which so much is left, or which is so much too long already."""
    p50_s = max(left.p50_s, EXCESS * excess_s)
    return Spread(now_s + min(left.p10_s, p50_s), now_s + p50_s, now_s + max(left.p90_s, excess_s))


def _served_and_left(plan: Plan, stop: Stop, arrive: Spread) -> Spread:
    served = arrive.mapped(lambda arrived_s: _served_s(plan, stop, arrived_s))
    return _not_before_planned(plan, stop, served.plus(stay(stop, timetable=plan.timetable)))


def _not_before_planned(plan: Plan, stop: Stop, leave: Spread) -> Spread:
    """A timetable is not run ahead of, however short a stay was."""
    planned_at = leaves_at(stop) if plan.timetable else None
    return leave if planned_at is None else leave.not_before(planned_at.timestamp())


def _served_s(plan: Plan, stop: Stop, arrived_s: float) -> float:
    """When who arrived is served: not before the planned window begins and the site opens."""
    start_s = None if stop.kind == "via" and not plan.timetable else _start_s(stop)
    from_s = arrived_s if start_s is None else max(arrived_s, start_s)
    if stop.hours is None:
        return from_s
    opens_us = calendar(stop.hours).opens(round(from_s * 1e6))
    return from_s if opens_us is None else max(from_s, opens_us / 1e6)


def _start_s(stop: Stop) -> float | None:
    window = stop.window
    return None if window is None or window.start is None else window.start.timestamp()


def left_last(record: Record) -> int | None:
    """The stop it is coming from."""
    left = [
        (became.departed_at, stop)
        for stop, became in enumerate(record.stops)
        if became.departed_at is not None
    ]
    return max(left)[1] if left else None


def _leg(here: Place, site: Site, way: Given | None, lane: tuple[str, str] | None) -> Leg:
    """From a place to where a stop begins."""
    if way is None:
        return Leg(here, site.place, _across_m(here, site), lane=lane)
    return Leg(here, site.place, way.length_m, way.path, lane)


def _part_ahead(here: Place, origin: Site | None, site: Site, way: Given | None) -> float:
    """How much of the leg that it is on is still ahead: by the way, else as the crow flies."""
    if way is not None and way.part is not None:
        return way.part
    ahead_m = _across_m(here, site)
    # A stop that is nowhere was left where somebody said so.
    behind_m = 0.0 if origin is None else _across_m(here, origin)
    return ahead_m / max(ahead_m + behind_m, 1.0)


def _across_m(here: Place, site: Site) -> float:
    """As the crow flies, to where a site begins."""
    across_m: float = h3.great_circle_distance(here[::-1], site.place[::-1], unit="m")
    return max(across_m - site.radius_m, 0.0)
