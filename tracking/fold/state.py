"""What the fold remembers of one device, and how it is kept.

The fields exist twice by design: as the attributes of `DeviceState`, which the pure fold reads,
and as the columns of `STATE`, a numpy record of the same fields in the same order, which the
vectorised path reads and which is the stored form (`device_state.fold`, `checkpoint.fold`). Only
`presences`, of which a device has any number, stands beside the record (`.presences`).
"""

from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracking.fold.presence import Watch, dump_presences, load_presences

# Raised with every change of fields or meaning; a stored record of another version is rebuilt
# from the readings instead of being misread.
VERSION = 2

NEVER = -(2**63)  # before every fix


class Motion(IntEnum):
    """The device's motion as `device_state.motion` keeps it."""

    UNKNOWN = 0
    STOPPED = 1
    MOVING = 2


@dataclass(slots=True)
class DeviceState:
    """One device after its last folded fix. Times in us, places in degrees and ECEF metres.

    `head`    the last fix folded, of any quality: a fix at or before it is late
    `ok`      the last fix of quality ok: where the device is
    `future_us` the newest fix stored ahead of its time and therefore outside the fold
    `suspect` the last of a run of impossible but mutually consistent fixes
    `anchor`  where the device stands, or the first fix of what may become a stop
    `away`    the first fix of what may become a departure
    `trip`    the start of the open trip; `trip_us` is 0 without one
    `fences_key` the fences the device is calmly in, or ATTENTION; see `tracking.fold.presence`
    `interval_s` the usual time between ok fixes: their running median
    `presences` where the device is among the fences, by the number of the machine
    """

    version: int = VERSION
    head_us: int = NEVER
    head_seq: int = NEVER
    future_us: int = NEVER
    ok_us: int = NEVER
    ok_seq: int = NEVER
    ok_n: int = 0
    seq_last: int = -1
    seq_missing: int = 0
    since_checkpoint: int = 0
    suspect_n: int = 0
    suspect_us: int = 0
    motion: int = 0
    anchor_us: int = 0
    away_n: int = 0
    away_us: int = 0
    trip_us: int = 0
    fences_key: int = 0
    ok_lon: float = 0.0
    ok_lat: float = 0.0
    ok_x: float = 0.0
    ok_y: float = 0.0
    ok_z: float = 0.0
    suspect_x: float = 0.0
    suspect_y: float = 0.0
    suspect_z: float = 0.0
    anchor_lon: float = 0.0
    anchor_lat: float = 0.0
    anchor_x: float = 0.0
    anchor_y: float = 0.0
    anchor_z: float = 0.0
    anchor_odometer_m: float = 0.0
    away_lon: float = 0.0
    away_lat: float = 0.0
    trip_lon: float = 0.0
    trip_lat: float = 0.0
    trip_odometer_m: float = 0.0
    odometer_m: float = 0.0
    interval_s: float = 0.0
    presences: dict[int, Watch] = field(default_factory=dict)


STATE = np.dtype(
    [
        (f.name, "<i8" if f.type is int else "<f8")
        for f in fields(DeviceState)
        if f.name != "presences"
    ]
)
_NAMES = STATE.names or ()
_OPAQUE = np.dtype((np.void, STATE.itemsize))
_INITIAL = np.array([tuple(getattr(DeviceState(), name) for name in _NAMES)], dtype=STATE)

StateArray = NDArray[np.void]


def initial_states(n: int) -> StateArray:
    """`n` records of devices nothing is known of."""
    return np.repeat(_INITIAL, n)


def take_states(states: StateArray, rows: NDArray[np.int64]) -> StateArray:
    """`states[rows]`: numpy copies records field by field, 0.5 us each; as opaque bytes, 0.03."""
    taken: StateArray = np.take(states.view(_OPAQUE), rows).view(STATE)
    return taken


def put_states(states: StateArray, rows: NDArray[np.int64], values: StateArray) -> None:
    """`states[rows] = values`, likewise."""
    states.view(_OPAQUE)[rows] = values.view(_OPAQUE)


def as_bytes(states: StateArray) -> NDArray[np.void]:
    """The stored form of each state, as one column."""
    return np.ascontiguousarray(states).view(_OPAQUE)


def unpack_state(record: Any, presences: bytes | None = None) -> DeviceState:  # noqa: ANN401 -- one np.void of STATE
    """The record, and the presences beside it, as the object the pure fold works on."""
    state = DeviceState(*record.item())
    state.presences = load_presences(presences)
    return state


def pack_state(state: DeviceState) -> tuple[Any, ...]:
    """The object, without its presences, as a value assignable to an element of `STATE`."""
    return tuple([getattr(state, name) for name in _NAMES])


def dump_state(state: DeviceState) -> tuple[bytes, bytes | None]:
    """The stored form of one state: the record, and the presences, None without any."""
    return np.array([pack_state(state)], dtype=STATE).tobytes(), dump_presences(state.presences)


def load_record(stored: bytes | None) -> StateArray | None:
    """One stored state as a `STATE` array of length 1; None when it must be rebuilt."""
    if stored is None or len(stored) != STATE.itemsize:
        return None
    record = np.frombuffer(stored, dtype=STATE)
    return record if record["version"][0] == VERSION else None
