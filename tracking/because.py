"""What the fold made of a fix, in numbers and in one plain sentence. Pure."""

from collections.abc import Sequence
from math import isnan

import msgspec

from tracking.fold import Fact, Rules
from tracking.fold.state import Motion
from tracking.quality import Quality
from tracking.retrace import Trace, Traced
from tracking.times import Stamp, iso

_NOT_USED = {
    Quality.INVALID: "the device itself said that it had no fix",
    Quality.NULL_ISLAND: "it lies at 0, 0, where receivers without a fix are",
    Quality.FUTURE: "the device's clock was ahead of ours",
    Quality.STALE: "it arrived later than the late horizon",
    Quality.INACCURATE: "its accuracy is worse than what is allowed",
    Quality.DUPLICATE: "it has the time and place of the fix before it",
    Quality.IMPOSSIBLE_SPEED: "nothing on this device can move that fast",
    Quality.STATIC: "its place is repeated bit for bit while the device claims to move",
}


class FixTold(msgspec.Struct, frozen=True):
    """A stored fix and what came of it; null for what does not apply.

    `depth_m` is measured to the fence, positive inside. `away_m`, `buffer_m`, `run_n` and
    `mean_depth_m` are of the machine that watches it: how far the fix lies beyond the border of
    where the device was (`border_of`), how far it had to be, and the run of such fixes. `late`: it
    arrived after the fix that confirmed the event.
    """

    fix_time: Stamp
    received_at: Stamp
    seq: int | None
    lon: float
    lat: float
    accuracy_m: float | None
    speed_mps: float | None
    quality: str
    used: bool
    late: bool
    decision: str
    because: str
    depth_m: float | None = None
    border_of: str | None = None
    away_m: float | None = None
    buffer_m: float | None = None
    widened: int | None = None
    run_n: int | None = None
    mean_depth_m: float | None = None
    moved_m: float | None = None
    from_anchor_m: float | None = None


def clock(time_us: int) -> str:
    """The time of day in UTC."""
    return iso(time_us)[11:19]


def metres(value_m: float) -> str:
    """A distance as people say it."""
    return f"{value_m:.1f} m" if abs(value_m) < 10 else f"{value_m:,.0f} m"


def seconds(value_s: float) -> str:
    """A duration as people say it."""
    return f"{value_s:,.0f} s" if value_s >= 10 or value_s == int(value_s) else f"{value_s:.1f} s"


def counted(n: int, noun: str) -> str:
    """`1 fix`, `2 fixes`."""
    return f"{n:,} {noun}" + ("" if n == 1 else "es" if noun.endswith("x") else "s")


def fence_fix(traced: Traced, trace: Trace, *, late: bool = False) -> FixTold:
    """The fix as the fence's machine saw it."""
    look = traced.look
    decision, because = fence_decision(traced, trace)
    told = _told(traced, decision, because, late=late)
    told = msgspec.structs.replace(told, depth_m=_rounded(traced.depth_m))
    if look is None:
        return told
    glance = look.glance
    return msgspec.structs.replace(
        told,
        border_of=None if look.nearest is None else look.nearest.fence.id,
        away_m=_rounded(glance.away_m),
        buffer_m=_rounded(glance.buffer_m),
        widened=glance.widened,
        run_n=glance.run_n,
        mean_depth_m=_rounded(glance.mean_m) if glance.run_n else None,
    )


def fence_decision(traced: Traced, trace: Trace) -> tuple[str, str]:
    """A code and a sentence."""
    if not traced.used:
        return "not_used", not_used(traced)
    ended = _fact(traced.facts, "fence.exited", trace, reasons={"deleted", "excluded"})
    if ended is not None:
        return "ended", _ended(ended)
    if traced.zone is None or not traced.applies:
        why = "did not hold at that time" if traced.zone is None else "is not for this device"
        return "none", f"the fence {why}"
    if traced.look is None:
        return _unwatched(traced, trace)
    return _run(traced) if traced.look.glance.run_n else _calm(traced, trace)


def not_used(traced: Traced) -> str:
    """Why the fix did not count."""
    reason = _NOT_USED.get(traced.quality, traced.quality.label)
    moved_m = traced.moving.moved_m
    if traced.quality == Quality.IMPOSSIBLE_SPEED and moved_m is not None:
        reason = f"it lies {metres(moved_m)} from the last good fix, and {reason}"
    if traced.quality == Quality.INACCURATE and not isnan(traced.fix.accuracy_m):
        reason = f"its accuracy of {metres(traced.fix.accuracy_m)} is worse than what is allowed"
    return f"not used: {reason}"


def _ended(fact: Fact) -> str:
    if fact.data["reason"] == "deleted":
        return f"the fence had ended at {clock(fact.time_us)}, which closed the visit"
    return "the fence no longer applied to the device, which closed the visit"


def _unwatched(traced: Traced, trace: Trace) -> tuple[str, str]:
    if _fact(traced.facts, "fence.entered", trace) is not None:
        return "initial", "the first fix since there are both fence and device, and inside: entered"
    neighbour = next((f for f in traced.facts if f.type == "fence.entered"), None)
    if neighbour is not None:
        return "none", f"first seen in {neighbour.rule}, of the same layer"
    depth_m = traced.depth_m or 0.0
    if traced.chord is not None:
        return _crossing(traced, trace)
    return "none", f"outside, {metres(-depth_m)} from the border, as before"


def _crossing(traced: Traced, trace: Trace) -> tuple[str, str]:
    assert traced.chord is not None  # noqa: S101 -- asked for by the caller
    depth_m, gap_s = traced.chord
    way = (
        f"outside, but the straight way from the fix {seconds(gap_s)} before passes "
        f"{metres(depth_m)} deep through the fence"
    )
    if _fact(traced.facts, "fence.crossed", trace) is not None:
        return "crossed", f"{way}: crossed, by inference"
    return "none", f"{way}, which raised nothing"


def _calm(traced: Traced, trace: Trace) -> tuple[str, str]:
    assert traced.look is not None  # noqa: S101 -- asked for by the caller
    look, watch = traced.look, traced.watch
    inside = 0 if watch is None else watch.zone
    if traced.chord is not None and not inside:
        return _crossing(traced, trace)
    away_m = metres(abs(look.glance.away_m))
    number = None if traced.zone is None else traced.zone.number
    if inside == 0:
        return "none", f"outside, {away_m} from the border, as before"
    if inside == number:
        dwelled = _fact(traced.facts, "fence.dwelled", trace)
        if dwelled is not None:
            inside_for = f"inside since {clock(watch.since_us)}" if watch else "inside"
            due = f"{seconds(dwelled.data['dwell_s'])} were reached at {clock(dwelled.time_us)}"
            return "dwelled", f"{inside_for}; {due}: dwelled"
        return "none", f"inside, {away_m} from the border, as before"
    return "none", f"still in {trace.names.get(inside, inside)}, of the same layer"


def _run(traced: Traced) -> tuple[str, str]:
    assert traced.look is not None  # noqa: S101 -- asked for by the caller
    look = traced.look
    glance = look.glance
    border = "the border"
    if look.nearest is not None and traced.zone is not None and look.nearest != traced.zone:
        border = f"the border of {look.nearest.fence.id}"
    place = f"fix {glance.run_n} of the run, {metres(glance.away_m)} beyond {border}"
    buffer = f"the buffer of {metres(glance.buffer_m)}"
    if glance.widened:
        buffer += f" (widened {glance.widened} times by quick returns)".replace("1 times", "once")
    dated = f"confirmed; dated at the first fix of the run, {clock(traced.run_us)}"
    beyond = glance.away_m > glance.buffer_m
    match glance.verdict.value:
        case "fast":
            return "fast", f"{place}, more than {buffer}: {dated}"
        case "slow":
            lasted_s = (traced.fix.time_us - traced.run_us) / 1e6
            return "slow", (
                f"{place}, within {buffer}, but the run has lasted {seconds(lasted_s)} at a mean "
                f"depth of {metres(glance.mean_m)}: {dated}"
            )
        case _ if beyond:
            return "run", f"{place}, more than {buffer}, but another fix must agree: not yet"
        case _:
            return "run", f"{place}, not more than {buffer}: not yet"


def speed_fix(traced: Traced, trace: Trace, limit_mps: float, *, late: bool = False) -> FixTold:
    """The fix against the fence's speed limit."""
    speed_mps = traced.fix.speed_mps
    if not traced.used:
        decision, because = "not_used", not_used(traced)
    elif isnan(speed_mps):
        decision, because = "none", "the device told no speed"
    elif speed_mps <= limit_mps:
        decision, because = "under", f"{speed_mps:.1f} m/s, within the limit of {limit_mps:.1f}"
    else:
        over = f"{speed_mps:.1f} m/s, above the limit of {limit_mps:.1f}"
        fact = _fact(traced.facts, "speed.exceeded", trace)
        first = "" if fact is None else f", and so was the fix of {clock(fact.time_us)}: exceeded"
        decision, because = "over", over + first
    told = _told(traced, decision, because, late=late)
    return msgspec.structs.replace(told, depth_m=_rounded(traced.depth_m))


def motion_fix(traced: Traced, rules: Rules, *, late: bool = False) -> FixTold:
    """The fix against where the device stands or last stood."""
    decision, because = _motion(traced, rules)
    return msgspec.structs.replace(
        _told(traced, decision, because, late=late),
        moved_m=_rounded(traced.moving.moved_m),
        from_anchor_m=_rounded(traced.moving.from_anchor_m),
    )


def _motion(traced: Traced, rules: Rules) -> tuple[str, str]:
    if not traced.used:
        return "not_used", not_used(traced)
    moving = traced.moving
    if moving.from_anchor_m is None or moving.anchor_us is None:
        return "initial", "the first fix of the device: it stands here until it is seen to move"
    raised = [fact for fact in traced.facts if fact.type.startswith(("motion.", "trip."))]
    told = f": {', '.join(fact.type for fact in raised)}" if raised else ""
    reasons = {fact.data.get("reason") for fact in raised}
    if reasons & {"gap", "relocated"}:
        how = "nothing was heard for too long" if "gap" in reasons else "it appeared elsewhere"
        return "broken_off", f"{how}, so what went on ended at the last good fix{told}"
    away_m, since = moving.from_anchor_m, clock(moving.anchor_us)
    if moving.motion == Motion.MOVING:
        stayed_s = (traced.fix.time_us - moving.anchor_us) / 1e6
        return _travelling(
            away_m, f"{metres(away_m)} from where it was at {since}", stayed_s, rules
        )
    limit = metres(rules.depart_radius_m)
    place = f"{metres(away_m)} from where it stands since {since}"
    if away_m <= rules.depart_radius_m:
        return "stay", f"{place}, not more than {limit}{told}"
    return "away", f"{place}, more than {limit}, fix {moving.away_n + 1} in a row{told}"


def _travelling(away_m: float, place: str, stayed_s: float, rules: Rules) -> tuple[str, str]:
    radius = metres(rules.stay_radius_m)
    if away_m > rules.stay_radius_m:
        return "moving", f"{place}, more than {radius}: moving"
    stay = f"{place}, within {radius} for {seconds(stayed_s)}"
    if stayed_s >= rules.stop_s:
        return "stay", f"{stay}, and {seconds(rules.stop_s)} make a stop: motion.stopped"
    return "stay", f"{stay}, less than the {seconds(rules.stop_s)} that make a stop"


def _told(traced: Traced, decision: str, because: str, *, late: bool) -> FixTold:
    fix = traced.fix
    return FixTold(
        fix_time=iso(fix.time_us),
        received_at=iso(fix.received_us),
        seq=None if fix.seq < 0 else fix.seq,
        lon=fix.lon,
        lat=fix.lat,
        accuracy_m=None if isnan(fix.accuracy_m) else fix.accuracy_m,
        speed_mps=None if isnan(fix.speed_mps) else fix.speed_mps,
        quality=traced.quality.label,
        used=traced.used,
        late=late,
        decision=decision,
        because=because,
    )


def _fact(
    facts: Sequence[Fact], type_: str, trace: Trace, *, reasons: set[str] | None = None
) -> Fact | None:
    """The fact of that type about the fence in question."""
    for fact in facts:
        wanted = reasons is None or fact.data.get("reason") in reasons
        if wanted and fact.type == type_ and fact.rule == trace.fence:
            return fact
    return None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
