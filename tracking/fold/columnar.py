"""The fold over a batch of many devices, vectorised where a fix changes nothing but counters.

`fold_batch` gives exactly what `tracking.fold.fold` gives device by device (property-tested).
Of a fleet's fixes some 99 % neither start nor stop nor break anything; those are folded as
columns. The rest, and devices with long runs in one batch, take the pure fold.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geofence.geodesy import Floats, chords_m, ecef
from tracking.fold import fold_one
from tracking.fold.fences import fences
from tracking.fold.model import Fact, Fix, Rules
from tracking.fold.presence import Watch, dump_presences, load_presences
from tracking.fold.scene import Scene
from tracking.fold.stages import INTERVAL_MAX_S, Step
from tracking.fold.state import (
    Motion,
    StateArray,
    pack_state,
    put_states,
    take_states,
    unpack_state,
)
from tracking.quality import Quality

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# Below this many devices a round of numpy calls (about 60, 1 us each) costs more than folding
# them one by one (about 8 us each with unpacking).
_ROUND_MIN = 12


@dataclass(slots=True)
class FixColumns:
    """Fixes as columns of equal length, sorted by (device, time, seq).

    `device` indexes the state array. `quality` is what each fix deserves by itself. Missing
    speed and accuracy are NaN. x, y, z as `geofence.geodesy.ecef`.
    """

    device: Ints
    time_us: Ints
    seq: Ints
    quality: Ints
    lon: Floats
    lat: Floats
    speed_mps: Floats
    accuracy_m: Floats
    x: Floats
    y: Floats
    z: Floats

    @classmethod
    def of(
        cls,
        *,
        device: Ints,
        time_us: Ints,
        seq: Ints,
        quality: Ints,
        lon: Floats,
        lat: Floats,
        speed_mps: NDArray[np.floating],
        accuracy_m: NDArray[np.floating],
    ) -> "FixColumns":
        """Columns from degrees; the earth-centred ones are added."""
        x, y, z = ecef(lon, lat)
        return cls(
            device, time_us, seq, quality, lon, lat,
            speed_mps.astype(np.float64), accuracy_m.astype(np.float64), x, y, z,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.device)

    def fixes(self, rows: Ints) -> Iterator[Fix]:
        """The given rows as the pure fold takes them."""
        yield from map(
            Fix._make,
            zip(
                self.time_us[rows].tolist(),
                self.seq[rows].tolist(),
                self.quality[rows].tolist(),
                self.lon[rows].tolist(),
                self.lat[rows].tolist(),
                self.speed_mps[rows].tolist(),
                self.accuracy_m[rows].tolist(),
                self.x[rows].tolist(),
                self.y[rows].tolist(),
                self.z[rows].tolist(),
                strict=True,
            ),
        )


class DeviceFact(NamedTuple):
    """A fact and the device, as an index into the state array, it is about."""

    device: int
    fact: Fact


class Outcome(NamedTuple):
    """Each fix's final quality, and the facts; those of one device come in order."""

    quality: Ints
    facts: list[DeviceFact]


@dataclass(slots=True)
class Devices:
    """What is folded into: a state of each device, and its presences beside it; and, where there
    are fences, what the fixes to be folded meet.
    """  # noqa: D205 -- one contract

    states: StateArray
    presences: list[bytes | None]
    scene: Scene | None = None


def fold_batch(devices: Devices, fixes: FixColumns, rules: Rules) -> Outcome:
    """Fold `fixes` into `devices`, in place. Each device's fixes must lie behind its head."""
    outcome = Outcome(fixes.quality.copy(), [])
    rows = np.arange(len(fixes))
    rank = _rank_in_run(fixes.device)
    for turn in range(int(rank.max(initial=-1)) + 1):
        in_turn = rows[rank == turn]
        if len(in_turn) < _ROUND_MIN:
            _fold_by_device(devices, fixes, rows[rank >= turn], rules, outcome)
            break
        left = _fold_plain(devices, fixes, in_turn, rules, outcome)
        _fold_by_device(devices, fixes, left, rules, outcome)
    return outcome


def _rank_in_run(device: Ints) -> Ints:
    """0 for each device's first row, 1 for its second, and so on; rows are sorted by device."""
    n = len(device)
    starts = np.flatnonzero(np.r_[True, device[1:] != device[:-1]]) if n else np.empty(0, np.int64)
    lengths = np.diff(np.r_[starts, n])
    result: Ints = np.arange(n) - np.repeat(starts, lengths)
    return result


def _fold_by_device(
    devices: Devices, fixes: FixColumns, rows: Ints, rules: Rules, outcome: Outcome
) -> None:
    if not len(rows):
        return
    scene = devices.scene
    device_of = fixes.device[rows]
    borders = np.flatnonzero(device_of[1:] != device_of[:-1]) + 1
    for run in np.split(rows, borders):
        device = int(fixes.device[run[0]])
        state = unpack_state(devices.states[device], devices.presences[device])
        for row, fix in zip(run.tolist(), fixes.fixes(run), strict=True):
            around = None if scene is None else scene.around(row, fix)
            verdict = fold_one(state, fix, rules, around)
            outcome.quality[row] = verdict.quality
            outcome.facts.extend(DeviceFact(device, fact) for fact in verdict.facts)
        devices.states[device] = pack_state(state)
        devices.presences[device] = dump_presences(state.presences)


def _fold_plain(
    devices: Devices, fixes: FixColumns, rows: Ints, rules: Rules, outcome: Outcome
) -> Ints:
    """Fold those of `rows` (at most one per device) that are plain; return the others.

    Plain: an ok fix of a known device that passes every test and raises no fact, but of fences,
    whose stage is run for just those that need it. Each line is the twin of one in `stages`, with
    the operations in the same order.
    """
    device = fixes.device[rows]
    before = take_states(devices.states, device)
    x, y, z, time_us = fixes.x[rows], fixes.y[rows], fixes.z[rows], fixes.time_us[rows]
    lon, lat = fixes.lon[rows], fixes.lat[rows]
    moved_m = chords_m(x, y, z, before["ok_x"], before["ok_y"], before["ok_z"])
    anchor_m = chords_m(x, y, z, before["anchor_x"], before["anchor_y"], before["anchor_z"])
    elapsed_us = time_us - before["ok_us"]
    accuracy_m = fixes.accuracy_m[rows]
    slack_m = rules.speed_slack_m + np.where(np.isnan(accuracy_m), 0.0, accuracy_m)
    moving = before["motion"] == Motion.MOVING
    stays = anchor_m <= rules.stay_radius_m
    rested_us = time_us - before["anchor_us"]

    plain = (fixes.quality[rows] == Quality.OK) & (before["ok_n"] > 0)
    plain &= moved_m <= slack_m + rules.max_speed_mps * (elapsed_us / 1e6)
    # A place repeated to the bit may be a duplicate or a stuck receiver: the pure fold decides.
    same_place = (lon == before["ok_lon"]) & (lat == before["ok_lat"])
    plain &= ~(same_place & ((elapsed_us == 0) | (fixes.speed_mps[rows] >= rules.static_speed_mps)))
    drives_on = (elapsed_us <= rules.gap_s * 1e6) & ~(stays & (rested_us >= rules.stop_s * 1e6))
    trip_ends = (before["trip_us"] != 0) & (rested_us >= rules.trip_stop_s * 1e6)
    stands = (anchor_m <= rules.depart_radius_m) & ~trip_ends
    plain &= np.where(moving, drives_on, stands)

    chosen = np.flatnonzero(plain)
    after = take_states(before, chosen)
    if devices.scene is not None:
        _fold_fences(devices, devices.scene, fixes, rows[chosen], after, rules, outcome)
    driving = moving[chosen]
    after["odometer_m"][driving] = (after["odometer_m"] + moved_m[chosen])[driving]
    after["away_n"][~driving] = 0
    _set_anchor(after, fixes, rows[chosen], driving & ~stays[chosen])
    _arrive(after, fixes, rows[chosen])
    put_states(devices.states, device[chosen], after)
    left: Ints = rows[~plain]
    return left


@dataclass(slots=True)
class _Whereabouts:
    """The part of a state that the fences stage reads and changes: 12 us less than the whole."""

    presences: dict[int, Watch]
    ok_n: int
    ok_us: int
    ok_lon: float
    ok_lat: float
    interval_s: float
    fences_key: int


def _fold_fences(  # noqa: PLR0917 -- the state of a turn
    devices: Devices,
    scene: Scene,
    fixes: FixColumns,
    rows: Ints,
    states: StateArray,
    rules: Rules,
    outcome: Outcome,
) -> None:
    """The fences stage of ok `rows`, `states` being those before them, changed in place."""
    device = fixes.device[rows]
    met = np.flatnonzero(scene.changes(rows, device, states))
    if not len(met):
        return
    columns = [states[f][met].tolist() for f in ("ok_n", "ok_us", "ok_lon", "ok_lat")]
    columns += [states[f][met].tolist() for f in ("interval_s", "fences_key")]
    rows, keys = rows[met], []
    for row, number, fix, *values in zip(
        rows.tolist(), device[met].tolist(), fixes.fixes(rows), *columns, strict=True
    ):
        state = _Whereabouts(load_presences(devices.presences[number]), *values)
        step = Step(fix, Quality.OK, around=scene.around(row, fix))
        fences(state, step, rules)
        outcome.facts.extend([DeviceFact(number, fact) for fact in step.facts])
        devices.presences[number] = dump_presences(state.presences)
        keys.append(state.fences_key)
    states["fences_key"][met] = keys


def _set_anchor(after: StateArray, fixes: FixColumns, rows: Ints, where: Bools) -> None:
    at = rows[where]
    after["anchor_us"][where] = fixes.time_us[at]
    for name, column in (("lon", fixes.lon), ("lat", fixes.lat)):
        after[f"anchor_{name}"][where] = column[at]
    for name, column in (("x", fixes.x), ("y", fixes.y), ("z", fixes.z)):
        after[f"anchor_{name}"][where] = column[at]
    after["anchor_odometer_m"][where] = after["odometer_m"][where]


def _arrive(after: StateArray, fixes: FixColumns, rows: Ints) -> None:
    seq = fixes.seq[rows]
    last = after["seq_last"]
    counted = (seq >= 0) & (last >= 0) & (seq > last)
    after["seq_missing"] += np.where(counted, seq - last - 1, 0)
    after["seq_last"] = np.where(seq >= 0, seq, last)
    gap_s = (fixes.time_us[rows] - after["ok_us"]) / 1e6
    usual_s = after["interval_s"]
    followed = np.where(gap_s > usual_s, np.minimum(usual_s * 1.1, INTERVAL_MAX_S), usual_s / 1.1)
    followed = np.where(usual_s == 0.0, np.minimum(gap_s, INTERVAL_MAX_S), followed)
    after["interval_s"] = np.where(gap_s > 0.0, followed, usual_s)
    after["head_us"] = after["ok_us"] = fixes.time_us[rows]
    after["head_seq"] = after["ok_seq"] = seq
    after["since_checkpoint"] += 1
    after["suspect_n"] = 0
    after["ok_n"] += 1
    after["ok_lon"], after["ok_lat"] = fixes.lon[rows], fixes.lat[rows]
    after["ok_x"], after["ok_y"], after["ok_z"] = fixes.x[rows], fixes.y[rows], fixes.z[rows]
