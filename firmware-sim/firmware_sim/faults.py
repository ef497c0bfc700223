"""Delivery faults: the readings of a device become a schedule of what is published when.

Every fault only ever delays or repeats, so a schedule can be made while the device goes on.
"""

from firmware_sim.distortion import tunnels_of
from firmware_sim.malformed import spoil
from firmware_sim.noise import Noise, Window, Windows
from firmware_sim.options import Options
from firmware_sim.readings import Delivery, Reading

# What was kept is sent a hundred times as fast as it was made.
_FLUSH = 0.01
_MOST_COPIES = 4
_SOON_S = 5.0


class Scheduler:
    """Plans the deliveries of one device. Pure: a reading's deliveries depend on it alone."""

    def __init__(self, device: str, device_index: int, channel: str, options: Options) -> None:
        self._index = device_index
        self._topic = f"wm/{options.tenant}/{device}/{channel}"
        self._faults = faults = options.delivery_faults
        self._offline = Windows(
            Noise(options.seed, device, "offline"), faults.offline, faults.offline_s
        )
        self._tunnels = tunnels_of(device, channel, options)
        self._reorder = Noise(options.seed, device, "reorder")
        self._duplicate = Noise(options.seed, device, "duplicate")
        self._malformed = Noise(options.seed, device, "malformed")
        self._spoil = Noise(options.seed, device, "spoil")

    def deliveries(self, reading: Reading) -> list[tuple[Reading, list[Delivery]]]:
        """The deliveries of *reading*, none if it was lost, and of a malformed extra if any."""
        # Eight places in the order for each reading: copies 0 to 4, and its malformed extra.
        first = 8 * reading.seq
        planned = [(reading, [] if "loss" in reading.faults else self._copies(reading, first))]
        if self._faults.malformed and self._malformed.unit(reading.seq) < self._faults.malformed:
            extra = spoil(reading, self._spoil)
            at_ms, order = self._sent_at(reading.made_ms, first + 7)
            planned.append(
                (extra, [Delivery(at_ms, self._index, order, self._topic, extra, copy=0)])
            )
        return planned

    def _copies(self, reading: Reading, first: int) -> list[Delivery]:
        faults = self._faults
        at_ms, order = self._sent_at(reading.made_ms, first)
        if faults.reorder and self._reorder.unit(2 * reading.seq) < faults.reorder:
            late_s = self._reorder.unit(2 * reading.seq + 1) * faults.reorder_window_s
            at_ms += 1 + int(late_s * 1000)
        copies = [Delivery(at_ms, self._index, order, self._topic, reading, copy=0)]
        while (
            faults.duplicates
            and len(copies) <= _MOST_COPIES
            and self._duplicate.unit(3 * first + len(copies)) < faults.duplicates
        ):
            again_ms = at_ms + int(self._again_s(3 * first + 8 + 2 * len(copies)) * 1000)
            copies.append(
                Delivery(
                    again_ms, self._index, first + len(copies), self._topic, reading, len(copies)
                )
            )
        return copies

    def _again_s(self, n: int) -> float:
        """How long after the first delivery a duplicate comes: mostly soon, at times much later."""
        soon = self._duplicate.unit(n) < 0.7
        return self._duplicate.unit(n + 1) * (_SOON_S if soon else self._faults.duplicate_late_s)

    def _sent_at(self, made_ms: int, order: int) -> tuple[int, int]:
        """When what was made at *made_ms* leaves the device, and its place among equals."""
        if self._faults.tunnel_buffered and (tunnel := self._tunnels.at(made_ms)):
            made_ms = _flushed(made_ms, tunnel)
        if window := self._offline.at(made_ms):
            if self._faults.backlog == "oldest":
                return _flushed(made_ms, window), order
            return window.end_ms + int((window.end_ms - made_ms) * _FLUSH), -order
        return made_ms, order


def _flushed(made_ms: int, window: Window) -> int:
    return window.end_ms + int((made_ms - window.start_ms) * _FLUSH)
