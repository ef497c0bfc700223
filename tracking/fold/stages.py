"""The stages of the fold, each a small state machine with its own part of `DeviceState`.

Each takes the state as the fixes before it left it, and changes only its own fields. Arithmetic
that `columnar` repeats on arrays is written in the same order here, so that both agree to the bit.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import isnan
from typing import Any

from geofence.geodesy import chord_m
from tracking.fold.around import Around, Look
from tracking.fold.fences import fences
from tracking.fold.model import Fact, Fix, Rules
from tracking.fold.state import DeviceState, Motion
from tracking.quality import Quality
from tracking.times import iso


@dataclass(slots=True)
class Step:
    """One fix on its way through the stages: what earlier stages found, for later ones."""

    fix: Fix
    quality: Quality
    moved_m: float = 0.0  # from the last ok fix
    relocated: bool = False  # accepted after a run of suspects: the way here is unknown
    facts: list[Fact] = field(default_factory=list)
    around: Around | None = None  # the fences near; None where there are none at all
    trace: list[Look] | None = None  # where an explanation is wanted: what the machines saw

    def raise_fact(self, type_: str, time_us: int, data: dict[str, Any], rule: str = "") -> None:
        """Note an event that this fix confirmed."""
        self.facts.append(Fact(type_, time_us, self.fix.time_us, self.fix.seq, data, rule))


# Above this all devices are alike: too slow to be followed between fixes.
INTERVAL_MAX_S = 600.0

Stage = Callable[[DeviceState, Step, Rules], None]


def sequence(state: DeviceState, step: Step, rules: Rules) -> None:  # noqa: ARG001 -- a stage
    """Count sequence numbers missing in event time; a number that falls is a restarted device."""
    seq = step.fix.seq
    if seq < 0:
        return
    if state.seq_last >= 0 and seq > state.seq_last:
        state.seq_missing += seq - state.seq_last - 1
    state.seq_last = seq


def quality(state: DeviceState, step: Step, rules: Rules) -> None:
    """Judge the fix against the last ok one."""
    fix = step.fix
    if step.quality != Quality.OK or state.ok_n == 0:
        return
    step.moved_m = chord_m(fix.x, fix.y, fix.z, state.ok_x, state.ok_y, state.ok_z)
    same_place = fix.lon == state.ok_lon and fix.lat == state.ok_lat
    if same_place and fix.time_us == state.ok_us:
        step.quality = Quality.DUPLICATE
    elif same_place and fix.speed_mps >= rules.static_speed_mps:
        step.quality = Quality.STATIC
    elif step.moved_m > _reach_m(fix, fix.time_us - state.ok_us, rules):
        _suspect(state, step, rules)


def _reach_m(fix: Fix, elapsed_us: int, rules: Rules) -> float:
    slack_m = rules.speed_slack_m + (0.0 if isnan(fix.accuracy_m) else fix.accuracy_m)
    return slack_m + rules.max_speed_mps * (elapsed_us / 1e6)


def _suspect(state: DeviceState, step: Step, rules: Rules) -> None:
    fix = step.fix
    from_suspect_m = chord_m(fix.x, fix.y, fix.z, state.suspect_x, state.suspect_y, state.suspect_z)
    agrees = state.suspect_n > 0 and from_suspect_m <= _reach_m(
        fix, fix.time_us - state.suspect_us, rules
    )
    state.suspect_n = state.suspect_n + 1 if agrees else 1
    if state.suspect_n >= rules.suspects_needed:
        step.relocated = True
        return
    step.quality = Quality.IMPOSSIBLE_SPEED
    state.suspect_us = fix.time_us
    state.suspect_x, state.suspect_y, state.suspect_z = fix.x, fix.y, fix.z


def motion(state: DeviceState, step: Step, rules: Rules) -> None:
    """Odometer, stops and departures, and the trips between them."""
    if step.quality != Quality.OK:
        return
    fix = step.fix
    if state.ok_n == 0:
        state.motion = Motion.STOPPED
        _anchor(state, fix)
        return
    if step.relocated or (
        state.motion == Motion.MOVING and fix.time_us - state.ok_us > rules.gap_s * 1e6
    ):
        _break_off(state, step)
    if state.motion == Motion.MOVING:
        _moving(state, step, rules)
    else:
        _stopped(state, step, rules)


def _moving(state: DeviceState, step: Step, rules: Rules) -> None:
    fix = step.fix
    state.odometer_m = state.odometer_m + step.moved_m
    if _from_anchor_m(state, fix) > rules.stay_radius_m:
        _anchor(state, fix)
    elif fix.time_us - state.anchor_us >= rules.stop_s * 1e6:
        _stop(state, step)


def _stopped(state: DeviceState, step: Step, rules: Rules) -> None:
    fix = step.fix
    away_m = _from_anchor_m(state, fix)
    if away_m <= rules.depart_radius_m:
        state.away_n = 0
        if state.trip_us and fix.time_us - state.anchor_us >= rules.trip_stop_s * 1e6:
            _end_trip(state, step)
        return
    if state.away_n == 0:
        state.away_us, state.away_lon, state.away_lat = fix.time_us, fix.lon, fix.lat
    state.away_n += 1
    if state.away_n >= 2 or away_m > 4 * rules.depart_radius_m:
        if state.trip_us and state.away_us - state.anchor_us >= rules.trip_stop_s * 1e6:
            _end_trip(state, step)
        _depart(state, step, away_m)


def _depart(state: DeviceState, step: Step, away_m: float) -> None:
    place = {"lon": state.away_lon, "lat": state.away_lat}
    step.raise_fact("motion.started", state.away_us, place)
    if not state.trip_us:
        state.trip_us = state.away_us
        state.trip_lon, state.trip_lat = state.anchor_lon, state.anchor_lat
        state.trip_odometer_m = state.odometer_m
        step.raise_fact(
            "trip.started", state.away_us, {"lon": state.anchor_lon, "lat": state.anchor_lat}
        )
    state.odometer_m = state.odometer_m + away_m
    state.motion = Motion.MOVING
    _anchor(state, step.fix)


def _stop(state: DeviceState, step: Step, *, reason: str = "stay") -> None:
    state.motion = Motion.STOPPED
    state.away_n = 0
    step.raise_fact(
        "motion.stopped",
        state.anchor_us,
        {"lon": state.anchor_lon, "lat": state.anchor_lat, "reason": reason},
    )


def _end_trip(state: DeviceState, step: Step, *, reason: str = "stay") -> None:
    step.raise_fact(
        "trip.ended",
        state.anchor_us,
        {
            "started_at": iso(state.trip_us),
            "duration_s": round((state.anchor_us - state.trip_us) / 1e6, 3),
            "distance_m": round(state.anchor_odometer_m - state.trip_odometer_m, 1),
            "from": {"lon": state.trip_lon, "lat": state.trip_lat},
            "to": {"lon": state.anchor_lon, "lat": state.anchor_lat},
            "reason": reason,
        },
    )
    state.trip_us = 0


def _break_off(state: DeviceState, step: Step) -> None:
    """End what was going on at the last ok fix; the way from there to this fix is unknown."""
    reason = "relocated" if step.relocated else "gap"
    if state.motion == Motion.MOVING:
        state.anchor_us, state.anchor_lon, state.anchor_lat = (
            state.ok_us,
            state.ok_lon,
            state.ok_lat,
        )
        state.anchor_x, state.anchor_y, state.anchor_z = state.ok_x, state.ok_y, state.ok_z
        state.anchor_odometer_m = state.odometer_m
        _stop(state, step, reason=reason)
    if state.trip_us:
        _end_trip(state, step, reason=reason)
    state.away_n = 0
    if step.relocated:
        _anchor(state, step.fix)


def _from_anchor_m(state: DeviceState, fix: Fix) -> float:
    return chord_m(fix.x, fix.y, fix.z, state.anchor_x, state.anchor_y, state.anchor_z)


def _anchor(state: DeviceState, fix: Fix) -> None:
    state.anchor_us, state.anchor_lon, state.anchor_lat = fix.time_us, fix.lon, fix.lat
    state.anchor_x, state.anchor_y, state.anchor_z = fix.x, fix.y, fix.z
    state.anchor_odometer_m = state.odometer_m


def arrive(state: DeviceState, step: Step, rules: Rules) -> None:  # noqa: ARG001 -- a stage
    """Move the head, and with an ok fix the device."""
    fix = step.fix
    state.head_us, state.head_seq = fix.time_us, fix.seq
    state.since_checkpoint += 1
    if step.quality == Quality.OK:
        state.suspect_n = 0
        _follow_interval(state, fix)
        state.ok_n += 1
        state.ok_us, state.ok_seq, state.ok_lon, state.ok_lat = (
            fix.time_us,
            fix.seq,
            fix.lon,
            fix.lat,
        )
        state.ok_x, state.ok_y, state.ok_z = fix.x, fix.y, fix.z


def _follow_interval(state: DeviceState, fix: Fix) -> None:
    """A running median of the time between fixes: one long gap moves it no more than any other."""
    gap_s = (fix.time_us - state.ok_us) / 1e6
    if state.ok_n == 0 or gap_s <= 0.0:
        return
    if state.interval_s == 0.0:
        state.interval_s = min(gap_s, INTERVAL_MAX_S)
    elif gap_s > state.interval_s:
        state.interval_s = min(state.interval_s * 1.1, INTERVAL_MAX_S)
    else:
        state.interval_s = state.interval_s / 1.1


STAGES: tuple[Stage, ...] = (sequence, quality, fences, motion, arrive)
