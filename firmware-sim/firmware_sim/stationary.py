"""Devices that stay where they are: RFID readers at depot doors, and climate sensors."""

import heapq
from collections.abc import Iterable
from math import exp, pi, sin
from typing import Any

from firmware_sim.fleet import Observed, Passage
from firmware_sim.noise import Noise, Windows
from firmware_sim.options import Options
from firmware_sim.ticks import Ticks

_COMPANY_PREFIX = 4_012_345  # seven digits, so partition 5 in both schemes below
_PARTITION = 5
_READS_PER_ANTENNA = 2


def giai_96(asset: int) -> str:
    """The EPC of a vehicle (GS1 GIAI-96) as 24 hex digits."""
    value = 0x34 << 88 | 0 << 85 | _PARTITION << 82 | _COMPANY_PREFIX << 58 | asset
    return f"{value:024X}"


def sscc_96(serial: int) -> str:
    """The EPC of a pallet (GS1 SSCC-96) as 24 hex digits; *serial* has up to ten digits."""
    value = 0x31 << 88 | 2 << 85 | _PARTITION << 82 | _COMPANY_PREFIX << 58 | serial << 24
    return f"{value:024X}"


class Reader:
    """One door of one depot with two antennas: 1 outside, 2 inside.

    Whoever passes is read for about three seconds, antenna by antenna in the direction of travel,
    the vehicle's own tag and one per pallet.
    """

    def __init__(self, index: int, options: Options, depots: int) -> None:
        self.index = index
        self._noise = Noise(options.seed, "reader", index)
        self._seed = options.seed
        self.depot = index % depots
        self._door = index // depots
        self._doors = len(range(self.depot, options.readers, depots))
        self._pending: list[tuple[int, int, dict[str, Any]]] = []
        self._planned = 0
        self._last_ms = -1

    def serves(self, passage: Passage) -> bool:
        """Whether *passage* is through this door; a vehicle keeps to one door per depot."""
        at_home = passage.depot == self.depot
        return at_home and (passage.vehicle // 4) % self._doors == self._door

    def observe(self, end_ms: int, passages: Iterable[Passage]) -> list[Observed]:
        """Every read before *end_ms*, in order; *passages* are those since the last call."""
        for passage in passages:
            if self.serves(passage):
                self._plan(passage)
        seen = []
        while self._pending and self._pending[0][0] < end_ms:
            at_ms, _, body = heapq.heappop(self._pending)
            # A reader reports one tag at a time; no two reads share a millisecond.
            self._last_ms = max(at_ms, self._last_ms + 1)
            seen.append(Observed(self._last_ms, body))
        return seen

    def _plan(self, passage: Passage) -> None:
        serials = [
            (passage.vehicle * 100_000 + passage.trip * 10 + k) % 10_000_000_000
            for k in range(passage.load)
        ]
        epcs = [giai_96(passage.vehicle + 1), *map(sscc_96, serials)]
        noise = Noise(self._seed, "read", self.index, passage.vehicle, passage.at_ms)
        draw = 0
        for epc in epcs:
            for place, antenna in enumerate((1, 2) if passage.inbound else (2, 1)):
                for k in range(_READS_PER_ANTENNA):
                    after_ms = int(place * 1500 + k * 600 + noise.between(draw, 0, 500))
                    body = {
                        "epc": epc,
                        "antenna": antenna,
                        "rssi_dbm": round(noise.between(draw + 1, -72.0, -48.0), 1),
                        "count": 1 + int(noise.unit(draw + 2) * 12),
                    }
                    draw += 3
                    # Vehicle and draw number break ties without looking at the slicing.
                    tie = passage.vehicle * 1000 + draw
                    heapq.heappush(self._pending, (passage.at_ms + after_ms, tie, body))


class Sensor:
    """A cold room's thermometer and hygrometer; the door stands open now and then.

    Set point 4 or -20 C with a compressor's slow wave; an open door pulls both values towards the
    outside within minutes and the room recovers more slowly.
    """

    def __init__(self, index: int, options: Options) -> None:
        self._noise = Noise(options.seed, "sensor", index)
        self._doors = Windows(Noise(options.seed, "sensor", index, "door"), 0.12, 150.0)
        interval_s = options.sensor_interval_s
        self.ticks = Ticks(interval_s, self._noise.unit(0) * (interval_s * 1000))
        self._count = 0
        self._set_point_c = 4.0 if index % 3 else -20.0
        self._excess_c = 0.0
        self._excess_pct = 0.0
        self._period_s = self._noise.between(1, 300.0, 700.0)

    def observe(self, end_ms: int) -> list[Observed]:
        """Every measurement due before *end_ms*, in order."""
        seen = []
        while (at_ms := self.ticks.next_ms) < end_ms:
            self.ticks.advance()
            self._count += 1
            open_door = self._doors.at(at_ms) is not None
            step_s = self.ticks.interval_s
            share = 1.0 - exp(-step_s / (180.0 if open_door else 420.0))
            self._excess_c += (
                (18.0 - self._set_point_c if open_door else 0.0) - self._excess_c
            ) * share
            self._excess_pct += ((25.0 if open_door else 0.0) - self._excess_pct) * share
            wobble_c, wobble_pct = self._noise.gauss_pair(self._count)
            wave_c = 0.6 * sin(2 * pi * at_ms / 1000 / self._period_s)
            values = {
                "temperature_c": round(
                    self._set_point_c + wave_c + self._excess_c + 0.05 * wobble_c, 2
                ),
                "humidity_pct": round(
                    min(99.0, 55.0 - 2 * wave_c + self._excess_pct + 0.4 * wobble_pct), 1
                ),
            }
            seen.append(Observed(at_ms, {"values": values}))
        return seen
