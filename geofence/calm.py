"""When a device counts as having entered or left: a pure machine that does not flap.

One machine per device and free fence, or per device and layer of fences that share borders. It
sees a fix as: where the fix is (`target`), and how far that is beyond the border of where the
machine has the device (`away_m`). Fixes come in event time; nothing else is known.
"""

from dataclasses import dataclass
from typing import NamedTuple

OUTSIDE = 0


@dataclass(slots=True)
class Presence:
    """One device at one free fence, or in one layer. Only int and float fields: it is stored as a
    numpy record of them. A device without a Presence is outside, calm, and has been for long.
    """  # noqa: D205 -- one contract

    machine: int = 0  # the number of the free fence; of a layer, a negative number
    zone: int = OUTSIDE  # the number of the fence the device is in
    since_us: int = 0  # when it entered `zone`; of no meaning outside
    changed_us: int = 0  # the fix that confirmed the last change
    widened: int = 0
    run_us: int = 0  # the first fix of the run of fixes beyond the border; 0 without one
    run_n: int = 0
    run_sum_m: float = 0.0
    run_lon: float = 0.0
    run_lat: float = 0.0


class Seen(NamedTuple):
    """One fix as a machine sees it. `accuracy_m` is NaN where unknown."""

    time_us: int
    lon: float
    lat: float
    accuracy_m: float
    interval_s: float  # the device's usual time between fixes
    target: int  # the fence of this machine the fix is in, OUTSIDE if in none
    away_m: float  # beyond the border of the machine's zone: > 0 on the far side
    inradius_m: float  # of `target`; of no meaning outside


class Change(NamedTuple):
    """The machine moved the device from one zone to another, at the first fix of the run."""

    left: int
    entered: int
    time_us: int
    lon: float
    lat: float
    away_m: float  # how far beyond the border the confirming fix was
