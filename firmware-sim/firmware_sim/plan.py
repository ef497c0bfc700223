"""The simulation as a stream of deliveries, one second of it at a time, and as a whole plan."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from firmware_sim.distortion import Distortion
from firmware_sim.faults import Scheduler
from firmware_sim.fleet import Observed
from firmware_sim.options import OptionError, Options
from firmware_sim.readings import Delivery, Reading
from firmware_sim.roads import Depot
from firmware_sim.scene import DeviceName, Scene, Town

# How far the model runs ahead of the wire: long enough to amortise a pass over all devices, short
# enough that 10,000 of them cost a pacing run a stall of about 0.2 s.
SLICE_MS = 1000


class Slice(NamedTuple):
    """What one second of simulated time brings.

    `planned` are the readings made in it, each with how many deliveries it will have, now or
    later; `deliveries` are those due in it, in wire order, of readings made in it or before.
    """

    end_ms: int
    planned: list[tuple[Reading, int]]
    deliveries: list[Delivery]


class _Output:
    """What one device says and when: its data faults, then its delivery faults."""

    __slots__ = ("distortion", "scheduler")

    def __init__(self, device: DeviceName, options: Options) -> None:
        self.distortion = Distortion(device.name, device.channel, options)
        self.scheduler = Scheduler(device.name, device.number, device.channel, options)


class Simulation:
    """The devices of a scene, a town if none is given, and what they say. Iterate `slices` once."""

    def __init__(self, options: Options, scene: Scene | None = None) -> None:
        self.options = options
        self._scene = scene if scene is not None else Town(options)
        self.devices = self._scene.devices
        self._outputs = [_Output(device, options) for device in self.devices]
        self._end_ms = options.duration_s * 1000 or inf
        self._reached_ms = 0

    def set_interval(self, device: str, interval_s: float) -> bool:
        """Have a device observe every *interval_s*, from the next slice on; whether it can."""
        ticks = self._scene.ticks.get(device)
        if ticks is not None:
            ticks.change(interval_s, self._reached_ms)
        return ticks is not None

    def stop(self) -> None:
        """Make no more readings; `slices` goes on with what is held."""
        self._end_ms = 0.0

    def slices(self) -> Iterator[Slice]:
        """One slice per second; after the end of the simulation, slices with what is still held.

        Endless if the options say no duration, until `stop`.
        """
        waiting: dict[int, list[Delivery]] = defaultdict(list)
        start_ms = 0
        while start_ms < self._end_ms:
            until_ms = int(min(start_ms + SLICE_MS, self._end_ms))
            planned: list[tuple[Reading, int]] = []
            for index, observed in self._scene.observe(until_ms):
                self._plan(index, observed, planned, waiting)
            self._reached_ms = until_ms
            yield Slice(start_ms + SLICE_MS, planned, sorted(waiting.pop(start_ms // SLICE_MS, [])))
            start_ms += SLICE_MS
        for number in sorted(waiting):
            yield Slice((number + 1) * SLICE_MS, [], sorted(waiting[number]))

    def _plan(
        self,
        index: int,
        observed: list[Observed],
        planned: list[tuple[Reading, int]],
        waiting: dict[int, list[Delivery]],
    ) -> None:
        output = self._outputs[index]
        for seen in observed:
            reading = output.distortion.say(seen)
            if reading is None:
                continue
            for message, deliveries in output.scheduler.deliveries(reading):
                planned.append((message, len(deliveries)))
                for delivery in deliveries:
                    waiting[delivery.at_ms // SLICE_MS].append(delivery)


@dataclass(slots=True)
class DevicePlan:
    """What one device says, in the order made, and what it sends, in the order sent."""

    device: DeviceName
    readings: list[Reading] = field(default_factory=list)  # without malformed extras
    deliveries: list[Delivery] = field(default_factory=list)

    @property
    def published(self) -> list[Reading]:
        """The distinct readings that are sent at all: those not lost, in the order made."""
        return [reading for reading in self.readings if "loss" not in reading.faults]


@dataclass(slots=True)
class Plan:
    """A whole simulation: equal for equal options, on any machine."""

    options: Options
    depots: tuple[Depot, ...]
    devices: dict[str, DevicePlan]
    deliveries: list[Delivery]  # of all devices, in the order sent


def plan(options: Options) -> Plan:
    """Work out everything a run with *options* publishes, without publishing it.

    Keeps it all in memory, about 1 KB per reading.

    Raises:
        OptionError: the options have no end.
    """
    if not options.duration_s:
        raise OptionError("for: a plan needs an end, give --for SECONDS")
    town = Town(options)
    simulation = Simulation(options, town)
    devices = {device.name: DevicePlan(device) for device in simulation.devices}
    everything: list[Delivery] = []
    for piece in simulation.slices():
        for reading, _ in piece.planned:
            if reading.malformed is None:
                devices[reading.device].readings.append(reading)
        for delivery in piece.deliveries:
            devices[delivery.reading.device].deliveries.append(delivery)
        everything += piece.deliveries
    return Plan(options, town.city.depots, devices, everything)
