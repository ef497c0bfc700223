"""Why an arrival is told anew: which part of the time to it is not what it was. Pure."""

from typing import NamedTuple

from tracking.estimates import Basis, Reason
from tracking.eta.itinerary import Ahead, left_last
from tracking.shipments import Plan, Record


class Why(NamedTuple):
    """The reason in a word and in a sentence."""

    reason: Reason
    because: str


class Now(NamedTuple):
    """What a look found beside the forecast itself.

    Attributes:
        cause: what is known to have happened since the last look, if anything.
        model: the version of what was learned.
        waited_s: for how long it has been standing or staying although nothing was planned.
    """

    plan: Plan
    record: Record
    time_s: float
    cause: Reason | None
    model: int
    waited_s: float = 0.0


# Of what is usual; less is no difference.
_LITTLE = 0.01
_KNOWN: dict[Reason, str] = {
    "left_route": "it has left its route",
    "back_on_route": "it is back on its route",
    "plan_changed": "the plan was changed",
    "carrier_changed": "another device carries it",
}


def first(found: Ahead) -> Why:
    """Of an arrival that was not told before."""
    return Why("first", f"{_way(found)}, {_minutes(found.driving_s)} to drive{_seen(found)}")


def why(basis: Basis, found: Ahead, moved_s: float, now: Now) -> Why:
    """Of an arrival that is told `moved_s` later than it was on that basis."""
    if now.cause in _KNOWN:
        reason, words = now.cause, _KNOWN[now.cause]
    elif now.cause == "new_path" or found.path != basis.path:
        reason, words = "new_path", f"there is another way to go, {_way(found)}"
    elif moved_s > 0 and now.waited_s and now.record.at_stop is None:
        reason, words = "progress", f"it has stood still for {_minutes(now.waited_s)}"
    else:
        parts = _parts(basis, found, now)
        reason = max(parts, key=lambda part: parts[part] * moved_s)
        words = _words(reason, parts[reason], basis, found, now)
        if reason == "traffic" and now.model != basis.model:
            reason, words = "model_changed", f"more was learned of past trips{_seen(found)}"
    return Why(reason, f"{_minutes(abs(moved_s))} {'later' if moved_s > 0 else 'earlier'}: {words}")


def _words(reason: Reason, part_s: float, basis: Basis, found: Ahead, now: Now) -> str:
    """Of a part of the way that is so much longer than expected; below zero: less long."""
    by = _minutes(abs(part_s))
    if reason == "traffic":
        more = "more" if part_s > 0 else "less"
        return f"{_way(found)} take {by} {more} than expected{_seen(found)}"
    if reason == "progress":
        pace = "more slowly" if part_s > 0 else "faster"
        gone_m = max(basis.left_m - found.left_m, 0.0)
        took = _minutes(now.time_s - basis.at_s)
        return f"it came on {pace} than expected, {_km(gone_m)} in {took}"
    at = now.record.at_stop if now.record.at_stop is not None else left_last(now.record)
    where = "on the way" if at is None else f"at {now.plan.stops[at].name}"
    return f"the stay {where} is {by} {'longer' if part_s > 0 else 'shorter'} than expected"


def _parts(basis: Basis, found: Ahead, now: Now) -> dict[Reason, float]:
    """By how many seconds each part of the way is longer than was expected; they add up.

    What was driven since is compared with what it should have taken, the rest with its forecast.
    """
    pace = basis.driving_s / max(basis.left_m, 1.0)
    gone_m = basis.left_m - found.left_m
    stayed_s = _stayed_s(now.record, basis.at_s, now.time_s)
    stay_s = found.staying_s + stayed_s - basis.staying_s
    stay: Reason = "longer_stop" if stay_s > 0 else "shorter_stop"
    return {
        "progress": now.time_s - basis.at_s - stayed_s - gone_m * pace,
        "traffic": found.driving_s - found.left_m * pace,
        stay: stay_s,
    }


def _stayed_s(record: Record, from_s: float, to_s: float) -> float:
    """How much of a time was spent at stops."""
    total_s = 0.0
    for became in record.stops:
        if became.arrived_at is not None:
            left_s = to_s if became.departed_at is None else became.departed_at.timestamp()
            total_s += max(min(left_s, to_s) - max(became.arrived_at.timestamp(), from_s), 0.0)
    return total_s


def _way(found: Ahead) -> str:
    along = {"route": "along its route", "roads": "by road", "detour": "as the crow flies"}
    return f"{_km(found.left_m)} {along[found.path]}"


def _seen(found: Ahead) -> str:
    """What the forecast rests on beside distance."""
    n = round(found.trips)
    if not n:
        return ", at the usual pace"
    share = found.driving_s / max(found.usual_s, 1.0) - 1.0
    than = f"{abs(share):.0%} {'longer' if share > 0 else 'less'} than"
    if abs(share) < _LITTLE:
        than = "as long as"
    return f"; {n} past trip{'s' if n > 1 else ''} like it took {than} usual"


def _km(metres: float) -> str:
    return f"{metres / 1e3:.1f} km" if metres < 100_000 else f"{metres / 1e3:.0f} km"


def _minutes(seconds: float) -> str:
    minutes = max(round(seconds / 60.0), 1)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"
