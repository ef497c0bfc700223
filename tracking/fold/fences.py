"""The fences stage: from where a fix is to `fence.*` and `speed.exceeded`, calmly.

Per machine (a free fence, or a layer) `geofence.calm` decides when a device has entered or left;
this stage shows it the fix, and makes visits of its changes: dwelling, speeding, schedules, fences
deleted under a device, passages between two fixes.
"""

from math import isnan
from typing import TYPE_CHECKING, Any

from geofence.calm import OUTSIDE, Calm, Change, Glance, Seen, forgotten, observe
from tracking.fold.around import Around, Crossing, Look, Whereabouts, Zone
from tracking.fold.presence import Watch, key_of_presences
from tracking.schedules import open_at
from tracking.times import iso

if TYPE_CHECKING:
    from tracking.fold.model import Rules
    from tracking.fold.stages import Step

# Beyond this a straight line between two fixes says nothing about the way taken (calm.md, 6).
CHORD_MAX_US = 60_000_000
# A fence's speed limit is exceeded by two fixes in a row: one is a reading, two are a fact.
_OVER_NEEDED = 2
# Where no border is left to measure from.
_FAR_M = 1e6
_ANY_CALM = Calm()


def fences(state: Whereabouts, step: "Step", rules: "Rules") -> None:  # noqa: ARG001 -- a stage
    """Enter, leave, dwell, cross and speed; nothing where no fence is and none was."""
    around = step.around
    if around is None or step.quality != 0:
        return
    gap_us = step.fix.time_us - state.ok_us
    if state.ok_n and gap_us <= CHORD_MAX_US and not step.relocated:
        for crossing in around.crossed(state.ok_lon, state.ok_lat):
            _cross(state, step, crossing)
    _find_homeless(state, step, around)
    if around.key == state.fences_key:
        return
    targets: dict[int, list[Zone]] = {}
    for zone in around.here:
        targets.setdefault(zone.machine, []).append(zone)
    for machine in sorted(targets.keys() | state.presences.keys()):
        _watch(state, step, around, machine, targets.get(machine, []))
    now_us = step.fix.time_us
    for machine in [m for m, watch in state.presences.items() if forgotten(watch, now_us)]:
        del state.presences[machine]
    state.fences_key = key_of_presences(state.presences, lambda watch: _restless(watch, around))


def _watch(
    state: Whereabouts, step: "Step", around: Around, machine: int, here: list[Zone]
) -> None:
    """Show the fix to one machine. `here` are the zones of this machine the fix is in."""
    watch = state.presences.get(machine)
    # One that could be forgotten is as good as none: whether it was depends on other fences.
    if watch is None or (here and forgotten(watch, step.fix.time_us)):
        # A free fence is measured to before it was ever left.
        watch = state.presences[machine] = Watch(machine=machine, left=max(machine, OUTSIDE))
        if _unseen(state, here[0]):
            _find_inside(watch, step, here[0])
            _inside(watch, step, here[0])
            return
    current = around.zone(watch.zone) if watch.zone != OUTSIDE else None
    if watch.zone != OUTSIDE and current is None:
        leave_ended(state, step, watch, around.known(watch.zone))
    # Where zones of a layer meet or overlap, the device stays where it is.
    target = current if current in here else next(iter(here), None)
    nearest = current or target or around.zone(watch.left)
    seen = _seen(state, step, around, nearest, target, inside=current is not None)
    calm = _ANY_CALM if nearest is None else nearest.calm
    glances: list[Glance] | None = None if step.trace is None else []
    since_us = watch.since_us
    change = observe(watch, seen, calm, glances)
    if step.trace is not None and glances is not None:
        step.trace += [Look(machine, nearest, seen, glance) for glance in glances]
    if change is not None:
        # The visit that ends is told with its own beginning.
        watch.since_us = since_us
        _tell(watch, step, around, change)
    if (zone := around.zone(watch.zone)) is not None:
        _inside(watch, step, zone)


def _unseen(state: Whereabouts, zone: Zone) -> bool:
    """Whether this is the device's first fix since there is such a fence."""
    return state.ok_n == 0 or state.ok_us < zone.fence.created_us


def _seen(
    state: Whereabouts,
    step: "Step",
    around: Around,
    nearest: Zone | None,
    target: Zone | None,
    *,
    inside: bool,
) -> Seen:
    depth_m = -_FAR_M if nearest is None else around.depth_m(nearest)
    return Seen(
        time_us=step.fix.time_us,
        lon=step.fix.lon,
        lat=step.fix.lat,
        accuracy_m=step.fix.accuracy_m,
        interval_s=state.interval_s,
        target=OUTSIDE if target is None else target.number,
        away_m=-depth_m if inside else depth_m,
        inradius_m=0.0 if target is None else target.inradius_m,
    )


def _tell(watch: Watch, step: "Step", around: Around, change: Change) -> None:
    """Raise what a change means; in a layer the leaving and the entering are one moment."""
    if change.left != OUTSIDE and (zone := around.zone(change.left)) is not None:
        _leave(watch, step, zone, change.time_us, change.lon, change.lat, reason="left")
    if change.entered != OUTSIDE and (zone := around.zone(change.entered)) is not None:
        data = _data(zone, change.lon, change.lat, depth_m=round(change.away_m, 1), initial=False)
        _raise(step, zone, "fence.entered", change.time_us, data)
        _begin(watch, change.time_us)


def _begin(watch: Watch, time_us: int) -> None:
    watch.since_us = time_us
    watch.dwelled = watch.over_n = watch.over_us = 0


def _find_inside(watch: Watch, step: "Step", zone: Zone) -> None:
    """The device was there when it, or the fence, was first seen."""
    fix = step.fix
    watch.zone = zone.number
    _begin(watch, fix.time_us)
    _raise(step, zone, "fence.entered", fix.time_us, _data(zone, fix.lon, fix.lat, initial=True))


def _find_homeless(state: Whereabouts, step: "Step", around: Around) -> None:
    """The device was elsewhere when it, or the fence it should be inside of, was first seen."""
    fix = step.fix
    for zone in around.homes():
        if _unseen(state, zone) and zone not in around.here:
            data = _data(
                zone, fix.lon, fix.lat, initial=True, violation=True, reason="outside", inside_s=0.0
            )
            _raise(step, zone, "fence.exited", fix.time_us, data)


def _leave(  # noqa: PLR0917 -- a moment and its place
    watch: Watch, step: "Step", zone: Zone, time_us: int, lon: float, lat: float, *, reason: str
) -> None:
    # The last fix before this one may be older than the dwell: the visit was long enough.
    _dwell(watch, step, zone, time_us, lon, lat)
    visit: dict[str, Any] = {
        "entered_at": iso(watch.since_us),
        "inside_s": round((time_us - watch.since_us) / 1e6, 3),
        "reason": reason,
    }
    if zone.fence.options.normal == "inside" and reason == "left":
        visit["violation"] = True
    watch.left = zone.number
    _raise(step, zone, "fence.exited", time_us, _data(zone, lon, lat, **visit))


def leave_ended(state: Whereabouts, step: "Step", watch: Watch, zone: Zone | None) -> None:
    """The fence went away under the device, or no longer applies to it.

    The place is where the device was last seen: the same before and after the next fix.
    """
    if zone is not None:
        deleted = zone.fence.to_us is not None and zone.fence.to_us <= step.fix.time_us
        time_us = zone.fence.to_us if deleted and zone.fence.to_us else step.fix.time_us
        reason = "deleted" if deleted else "excluded"
        _leave(watch, step, zone, time_us, state.ok_lon, state.ok_lat, reason=reason)
    watch.zone, watch.left = OUTSIDE, OUTSIDE
    watch.run_us = watch.run_n = watch.widened = 0
    watch.run_sum_m = 0.0


def _inside(watch: Watch, step: "Step", zone: Zone) -> None:
    """What may come of a fix of a device that is in the zone."""
    if watch.run_n == 0:
        _dwell(watch, step, zone, step.fix.time_us, step.fix.lon, step.fix.lat)
    limit_mps, speed_mps = zone.fence.options.speed_limit_mps, step.fix.speed_mps
    if limit_mps is None or isnan(speed_mps):
        return
    if speed_mps <= limit_mps:
        watch.over_n = 0
        return
    if watch.over_n == 0:
        watch.over_us = step.fix.time_us
    watch.over_n = min(watch.over_n + 1, _OVER_NEEDED + 1)
    if watch.over_n == _OVER_NEEDED:
        data = _data(zone, step.fix.lon, step.fix.lat, limit_mps=limit_mps, speed_mps=speed_mps)
        _raise(step, zone, "speed.exceeded", watch.over_us, data)


def _dwell(  # noqa: PLR0917 -- a moment and its place
    watch: Watch, step: "Step", zone: Zone, until_us: int, lon: float, lat: float
) -> None:
    dwell_s = zone.fence.options.dwell_s
    if dwell_s is None or watch.dwelled:
        return
    due_us = watch.since_us + round(dwell_s * 1e6)
    if until_us < due_us:
        return
    watch.dwelled = 1
    data = _data(zone, lon, lat, entered_at=iso(watch.since_us), dwell_s=dwell_s)
    _raise(step, zone, "fence.dwelled", due_us, data)


def _cross(state: Whereabouts, step: "Step", crossing: Crossing) -> None:
    """A passage nobody saw, where the machine had the device outside before and has no other."""
    zone, fix = crossing.zone, step.fix
    watch = state.presences.get(zone.machine)
    known = watch is not None and (watch.zone != OUTSIDE or watch.run_n > 0)
    if zone.in_layer or not zone.fence.options.crossed or known:
        return
    gap_us = fix.time_us - state.ok_us
    lon = state.ok_lon + crossing.fraction * (fix.lon - state.ok_lon)
    lat = state.ok_lat + crossing.fraction * (fix.lat - state.ok_lat)
    data = _data(
        zone, lon, lat, inferred=True, depth_m=round(crossing.depth_m, 1), gap_s=gap_us / 1e6
    )
    _raise(step, zone, "fence.crossed", state.ok_us + round(crossing.fraction * gap_us), data)


def _restless(watch: Watch, around: Around) -> bool:
    """Whether the next fix inside the fence may tell something."""
    zone = around.zone(watch.zone)
    if zone is None:
        return False
    options = zone.fence.options
    return options.speed_limit_mps is not None or (
        options.dwell_s is not None and not watch.dwelled
    )


def _data(zone: Zone, lon: float, lat: float, **more: Any) -> dict[str, Any]:  # noqa: ANN401 -- JSON
    fence = zone.fence
    data = {
        "fence": fence.id,
        "fence_name": fence.name,
        "fence_version": fence.version,
        "lon": lon,
        "lat": lat,
        **more,
    }
    if fence.options.layer is not None:
        data["layer"] = fence.options.layer
    return data


def _raise(step: "Step", zone: Zone, type_: str, time_us: int, data: dict[str, Any]) -> None:
    """Note an event, unless the fence's schedule has it silent at that time."""
    schedule = zone.fence.options.schedule
    if schedule is None or open_at(schedule, time_us):
        step.raise_fact(type_, time_us, data, rule=zone.fence.id)
