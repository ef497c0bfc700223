"""The lists a batch is gathered in, turned into numpy columns once per batch."""

import math
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta

from ingest.readings import (
    Ack,
    Measurements,
    Positions,
    Readings,
    Rejection,
    Status,
    TagReads,
)

# Keeps the 32-bit columns finite without judging: the quality filter does that.
_HUGE = 1e9


class Fix(msgspec.Struct, gc=False):
    """One position, in the members and units of the native `pos` channel."""

    t: int | float | str
    lon: Annotated[float, Meta(ge=-180, le=180)]
    lat: Annotated[float, Meta(ge=-90, le=90)]
    # NaN by default rather than None: numpy converts a list of floats twice as fast.
    alt_m: Annotated[float, Meta(ge=-_HUGE, le=_HUGE)] | None = math.nan
    speed_mps: Annotated[float, Meta(ge=0, le=_HUGE)] | None = math.nan
    course_deg: Annotated[float, Meta(ge=0, le=360)] | None = math.nan
    accuracy_m: Annotated[float, Meta(ge=0, le=_HUGE)] | None = math.nan
    battery: Annotated[float, Meta(ge=0, le=1)] | None = math.nan
    seq: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = -1
    valid: bool | None = True
    attrs: msgspec.Raw = msgspec.Raw()


class Value(NamedTuple):
    """One measurement."""

    key_id: int
    fix_time_us: int
    received_us: int
    metric: str
    value: float


class Read(NamedTuple):
    """One tag read; antenna -1 and rssi NaN are missing."""

    key_id: int
    fix_time_us: int
    received_us: int
    epc: str
    antenna: int
    rssi_dbm: float
    times_read: int


class Gather:
    """Collects one batch. Rows of `fixes`, `keys`, `times_us` and `received_us` belong together.

    Lists and no method for the fixes: a call per fix costs 0.1 us of the 2 us there are.
    """

    def __init__(self) -> None:
        self.fixes: list[Fix] = []
        self.keys: list[int] = []
        self.times_us: list[int] = []
        self.received_us: list[int] = []
        self.attrs: dict[int, bytes] = {}  # by row: most fixes have none
        self.values: list[Value] = []
        self.reads: list[Read] = []
        self.statuses: list[Status] = []
        self.acks: list[Ack] = []
        self.rejects: list[Rejection] = []

    def readings(self) -> Readings:
        """Build the columns."""
        return Readings(
            positions=self._positions(),
            measurements=self._measurements(),
            tags=self._tags(),
            statuses=self.statuses,
            acks=self.acks,
            rejects=self.rejects,
        )

    def _positions(self) -> Positions:
        fixes = self.fixes
        course_deg = np.array([fix.course_deg for fix in fixes], np.float32)
        # After the rounding to 32 bits, which takes 359.99999 to 360.
        course_deg[course_deg == 360] = 0
        attrs = self.attrs
        return Positions(
            key_id=np.array(self.keys, np.int32),
            fix_time_us=np.array(self.times_us, np.int64),
            seq=np.array([-1 if fix.seq is None else fix.seq for fix in fixes], np.int64),
            received_us=np.array(self.received_us, np.int64),
            lon=np.array([fix.lon for fix in fixes], np.float64),
            lat=np.array([fix.lat for fix in fixes], np.float64),
            alt_m=np.array([fix.alt_m for fix in fixes], np.float32),
            speed_mps=np.array([fix.speed_mps for fix in fixes], np.float32),
            course_deg=course_deg,
            accuracy_m=np.array([fix.accuracy_m for fix in fixes], np.float32),
            battery=np.array([fix.battery for fix in fixes], np.float32),
            valid=np.array([fix.valid is not False for fix in fixes], np.bool_),
            attrs=[attrs.get(row) for row in range(len(fixes))] if attrs else None,
        )

    def _measurements(self) -> Measurements:
        values = self.values
        return Measurements(
            key_id=np.array([value.key_id for value in values], np.int32),
            fix_time_us=np.array([value.fix_time_us for value in values], np.int64),
            received_us=np.array([value.received_us for value in values], np.int64),
            metric=[value.metric for value in values],
            value=np.array([value.value for value in values], np.float64),
        )

    def _tags(self) -> TagReads:
        reads = self.reads
        return TagReads(
            key_id=np.array([read.key_id for read in reads], np.int32),
            fix_time_us=np.array([read.fix_time_us for read in reads], np.int64),
            received_us=np.array([read.received_us for read in reads], np.int64),
            epc=[read.epc for read in reads],
            antenna=np.array([read.antenna for read in reads], np.int32),
            rssi_dbm=np.array([read.rssi_dbm for read in reads], np.float32),
            count=np.array([read.times_read for read in reads], np.int32),
        )
