"""How what is carried follows its planned way: a pure fold over its ok fixes in event time.

Whether it is off the way is voted by its last fixes, so a single stray one decides nothing; in
which direction it goes is told by how far it has come back from where it had been furthest. A
gap, a tunnel say, has no fixes and so decides nothing either.
"""

from typing import Literal, NamedTuple

import msgspec
import numpy as np

from geofence.metric import distances_m
from tracking.route.line import LOOSE_M, Line
from tracking.times import Moment, from_us

Change = Literal["deviated", "rejoined", "reversed", "resumed"]
Vote = Literal["off", "on", "between"]

# So far back along the way is turned round, in so many fixes; as far forward is turned again.
_TURNED_M, _TURNED_N = 300.0, 3
# So far from where it was picked up it may be beside a way it has not been on yet.
_TO_THE_WAY_M = 1_000.0
# Stops further beside the way are somewhere else: going there is leaving it.
_ASIDE_M = 2_000.0
# No road vehicle is faster over minutes. What seems to be jumped to the way's next loop.
_MAX_MPS, _SLACK_M = 50.0, 500.0


class Ground(NamedTuple):
    """Where a stop is."""

    lon: float
    lat: float
    radius_m: float


class Thresholds(NamedTuple):
    """When a way counts as left; see `tracking.shipments.Route`.

    Not by going to a stop beside it: `stops` are where that may be.
    """

    detect_m: float
    clear_m: float
    n: int
    of_m: int
    stops: tuple[Ground, ...] = ()


class Fix(NamedTuple):
    """An ok fix of whatever carries it. `accuracy_m` is None where the device gave none."""

    time_us: int
    seq: int
    device: str
    lon: float
    lat: float
    accuracy_m: float | None = None

    @property
    def key(self) -> tuple[int, int]:
        """Its place in the order of the fold."""
        return self.time_us, self.seq


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """A fix as evidence: where along the way, how far beside it, and what it votes."""

    time_us: int
    device: str
    lon: float
    lat: float
    along_m: float
    offset_m: float
    vote: Vote


class Transition(msgspec.Struct, frozen=True):
    """A change, dated at the first fix of its run; `confirmed` is the fix that made it sure."""

    change: Change
    confirmed: tuple[int, int]
    fixes: tuple[Seen, ...]

    @property
    def first(self) -> Seen:
        """When and where it happened."""
        return self.fixes[0]


class Following(msgspec.Struct, frozen=True):
    """What the fold remembers, and what is shown of it.

    Attributes:
        begin: where the first fix was.
        joined: whether it has been on the way, or had its chance.
        progress_m: how far along the way it has come; None: it has not been near it.
        progress_us: when it was seen there.
        offset_m, as_of_us: how far beside the way its last fix was, and when that was.
        off, opposite: what holds now.
        votes: the last fixes that are evidence, as many as vote.
        furthest_m: along the way in its direction.
        turning: the fixes since it has been going the other way.
    """

    begin: tuple[float, float] | None = None
    joined: bool = False
    progress_m: float | None = None
    progress_us: int = 0
    offset_m: float = 0.0
    as_of_us: int = 0
    off: bool = False
    opposite: bool = False
    votes: tuple[Seen, ...] = ()
    furthest_m: float | None = None
    turning: tuple[Seen, ...] = ()


class Progress(msgspec.Struct, frozen=True):
    """How far something has come along its way, as of a fix."""

    progress_m: float | None
    offset_m: float
    off_route: bool
    opposite_direction: bool
    as_of: Moment


def progress_of(state: Following) -> Progress | None:
    """What is shown of a fold; None before the first fix."""
    if state.begin is None:
        return None
    along_m = state.progress_m
    return Progress(
        None if along_m is None else round(along_m, 1),
        round(state.offset_m, 1),
        state.off,
        state.opposite,
        from_us(state.as_of_us),
    )


def follow(
    line: Line, thresholds: Thresholds, state: Following, fix: Fix
) -> tuple[Following, list[Transition]]:
    """Go on by one fix; fixes come in the order of their keys."""
    # Before any progress it is taken to begin at the beginning: a way back on the same road is as
    # near, and who is on it at first would be behind the whole way.
    near_m = 0.0 if state.progress_m is None else state.progress_m
    along_m, offset_m = line.project(fix.lon, fix.lat, near_m=near_m)
    state = msgspec.structs.replace(
        state, begin=state.begin or (fix.lon, fix.lat), offset_m=offset_m, as_of_us=fix.time_us
    )
    vote = _vote(thresholds, offset_m, fix.accuracy_m or 0.0)
    if vote is None or (vote == "off" and _at_a_stop(line, thresholds, fix)):
        return state, []
    seen = Seen(fix.time_us, fix.device, fix.lon, fix.lat, along_m, offset_m, vote)
    if not state.joined:
        state = msgspec.structs.replace(state, joined=_joined(state, seen))
    state, told = _count(thresholds, state, seen, fix.key)
    if offset_m > thresholds.detect_m or state.off or not _reachable(state, seen):
        return state, told
    state, turned = _turn(_advance(state, seen), seen, fix.key)
    return state, told + turned


def _vote(thresholds: Thresholds, offset_m: float, accuracy_m: float) -> Vote | None:
    """What a fix says; None: it is too inaccurate to say anything."""
    if offset_m - accuracy_m > thresholds.detect_m:
        return "off"
    if accuracy_m > thresholds.detect_m:
        return None
    return "on" if offset_m <= thresholds.clear_m else "between"


def _at_a_stop(line: Line, thresholds: Thresholds, fix: Fix) -> bool:
    """Whether it is as near to a stop as that is to the way."""
    stops = thresholds.stops
    if not stops:
        return False
    lon, lat, radius_m = np.array(stops).T
    away_m = distances_m(np.full(len(stops), fix.lon), np.full(len(stops), fix.lat), lon, lat)
    beyond_m = np.maximum(away_m - radius_m, 0.0)
    return any(
        beyond_m[i] <= line.project(stops[i].lon, stops[i].lat).offset_m
        for i in np.flatnonzero(beyond_m < _ASIDE_M).tolist()
    )


def _joined(state: Following, seen: Seen) -> bool:
    if seen.vote == "on" or state.begin is None:
        return True
    lon, lat = np.array([state.begin, (seen.lon, seen.lat)]).T
    return float(distances_m(lon[:1], lat[:1], lon[1:], lat[1:])[0]) > _TO_THE_WAY_M


def _count(
    thresholds: Thresholds, state: Following, seen: Seen, key: tuple[int, int]
) -> tuple[Following, list[Transition]]:
    """Off or on by the votes of the last fixes; a change begins the count anew."""
    if not state.joined:
        return state, []
    votes = (*state.votes, seen)[-thresholds.of_m :]
    wanted: Vote = "on" if state.off else "off"
    run = tuple(one for one in votes if one.vote == wanted)
    if len(run) < thresholds.n:
        return msgspec.structs.replace(state, votes=votes), []
    change: Change = "rejoined" if state.off else "deviated"
    # Where it comes back says nothing of the direction: it may have driven around the block.
    changed = msgspec.structs.replace(
        state, off=not state.off, votes=(), furthest_m=None, turning=()
    )
    return changed, [Transition(change, key, run)]


def _reachable(state: Following, seen: Seen) -> bool:
    """Whether it can have come so far; else it is near another part of the way by chance."""
    if state.progress_m is None:
        return True
    passed_s = (seen.time_us - state.progress_us) / 1e6
    return abs(seen.along_m - state.progress_m) <= _SLACK_M + _MAX_MPS * passed_s


def _advance(state: Following, seen: Seen) -> Following:
    """Take up the progress; scatter against the direction does not lower it."""
    ahead_m = seen.along_m - (seen.along_m if state.progress_m is None else state.progress_m)
    forward_m = -ahead_m if state.opposite else ahead_m
    kept = state.progress_m if -LOOSE_M <= forward_m < 0.0 else seen.along_m
    return msgspec.structs.replace(state, progress_m=kept, progress_us=seen.time_us)


def _turn(state: Following, seen: Seen, key: tuple[int, int]) -> tuple[Following, list[Transition]]:
    """Turned round is who comes back from where it was furthest, fix by fix."""
    sign = -1.0 if state.opposite else 1.0
    reached_m, furthest_m = sign * seen.along_m, state.furthest_m
    if furthest_m is None or reached_m >= sign * furthest_m - LOOSE_M:
        if furthest_m is None or reached_m > sign * furthest_m:
            furthest_m = seen.along_m
        return msgspec.structs.replace(state, furthest_m=furthest_m, turning=()), []
    turning = (*state.turning, seen)
    if reached_m >= sign * turning[0].along_m:
        turning = (seen,)
    back_m = sign * furthest_m - reached_m
    fallen_m = sign * turning[0].along_m - reached_m
    if len(turning) < _TURNED_N or back_m < _TURNED_M or fallen_m < _TURNED_M / 2:
        # Of a long crawl the first fix and the last ones are enough.
        kept = turning if len(turning) <= _TURNED_N else (turning[0], *turning[-_TURNED_N + 1 :])
        return msgspec.structs.replace(state, turning=kept), []
    change: Change = "resumed" if state.opposite else "reversed"
    turned = msgspec.structs.replace(
        state, opposite=not state.opposite, furthest_m=seen.along_m, turning=()
    )
    return turned, [Transition(change, key, turning)]
