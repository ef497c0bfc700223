"""The fences as one fix of one device meets them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from geofence.calm import Calm, Glance, Seen
from tracking.fences import FenceVersion
from tracking.fold.presence import Watch


@dataclass(frozen=True, slots=True, eq=False)
class Zone:
    """One version of a fence, ready for the fold."""

    id: int  # in the book and its index
    number: int  # the fence's
    machine: int  # whose `Presence` watches it: the fence's own, or its layer's
    calm: Calm
    inradius_m: float
    fence: FenceVersion

    @property
    def in_layer(self) -> bool:
        """Whether it shares its machine with neighbours."""
        return self.machine != self.number


class Crossing(NamedTuple):
    """A zone the straight line from the fix before passes through, both ends outside."""

    zone: Zone
    depth_m: float
    fraction: float  # of the way, where it is deepest


class Look(NamedTuple):
    """What one machine saw of one fix, and what it made of it: the stuff of explanations."""

    machine: int
    nearest: Zone | None  # the fence whose border was measured to
    seen: Seen
    glance: Glance


class Whereabouts(Protocol):
    """What the fences stage reads and changes of a device's state; see `DeviceState`."""

    ok_n: int
    ok_us: int
    ok_lon: float
    ok_lat: float
    interval_s: float
    fences_key: int
    presences: dict[int, Watch]


class Around(Protocol):
    """What the fences stage may ask about one fix; fences that do not apply are not there.

    A fence applies at the fix's time, to the fix's device.
    """

    key: int  # of the fences the fix is in, see `tracking.fold.presence`
    here: Sequence[Zone]  # those fences, by number

    def zone(self, number: int) -> Zone | None:
        """The fence as it applies to this fix; None where it does not (any more)."""
        ...

    def known(self, number: int) -> Zone | None:
        """The last version of the fence up to this fix, whether it applies or not."""
        ...

    def depth_m(self, zone: Zone) -> float:
        """Metres from the fix to the zone's border, positive inside."""
        ...

    def crossed(self, lon: float, lat: float) -> Sequence[Crossing]:
        """The zones passed on the straight way from `lon`, `lat` to the fix."""
        ...

    def homes(self) -> Sequence[Zone]:
        """The fences devices should be inside of."""
        ...
