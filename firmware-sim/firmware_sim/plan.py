"""The simulation as a stream of deliveries, one second of it at a time, and as a whole plan."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from firmware_sim.distortion import Distortion
from firmware_sim.faults import Scheduler
from firmware_sim.fleet import Observed, Passage, Vehicle
from firmware_sim.options import OptionError, Options
from firmware_sim.readings import Delivery, Reading
from firmware_sim.roads import City, Depot
from firmware_sim.stationary import Reader, Sensor

# How far the model runs ahead of the wire: long enough to amortise a pass over all devices, short
# enough that 10,000 of them cost a pacing run a stall of about 0.2 s.
SLICE_MS = 1000


class DeviceName(NamedTuple):
    """A simulated device: its name, the channel it speaks on and its number among all devices."""

    name: str
    channel: str
    number: int


def device_names(options: Options) -> list[DeviceName]:
    """Every device of a simulation; a device's name and behaviour do not depend on the others'."""
    kinds = (
        ("vehicle", "pos", options.devices),
        ("reader", "tag", options.readers),
        ("sensor", "sensor", options.sensors),
    )
    start = options.prefix
    names = [
        (f"{start}{kind}-{k + 1:05d}", channel) for kind, channel, n in kinds for k in range(n)
    ]
    return [DeviceName(name, channel, index) for index, (name, channel) in enumerate(names)]


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
    """All devices of one city, moved forward together. Iterate `slices` once."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.devices = device_names(options)
        self.city = City(options.seed, options.center_lon, options.center_lat)
        self._outputs = [_Output(device, options) for device in self.devices]
        self._vehicles = [
            Vehicle(k, options.seed, self.city, options.interval_s) for k in range(options.devices)
        ]
        self._readers = [Reader(k, options, len(self.city.depots)) for k in range(options.readers)]
        self._sensors = [Sensor(k, options) for k in range(options.sensors)]
        self._end_ms = options.duration_s * 1000 or inf
        self._reached_ms = 0
        paced = [*self._vehicles, *([None] * options.readers), *self._sensors]
        self._ticks = {
            device.name: one.ticks
            for device, one in zip(self.devices, paced, strict=True)
            if one is not None
        }

    def set_interval(self, device: str, interval_s: float) -> bool:
        """Have a device observe every *interval_s*, from the next slice on; whether it can."""
        ticks = self._ticks.get(device)
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
            for index, observed in self._observe(until_ms):
                self._plan(index, observed, planned, waiting)
            self._reached_ms = until_ms
            yield Slice(start_ms + SLICE_MS, planned, sorted(waiting.pop(start_ms // SLICE_MS, [])))
            start_ms += SLICE_MS
        for number in sorted(waiting):
            yield Slice((number + 1) * SLICE_MS, [], sorted(waiting[number]))

    def _observe(self, until_ms: int) -> Iterator[tuple[int, list[Observed]]]:
        index = 0
        passages: list[Passage] = []
        for vehicle in self._vehicles:
            yield index, vehicle.observe(until_ms)
            passages += vehicle.passages
            vehicle.passages.clear()
            index += 1
        for reader in self._readers:
            yield index, reader.observe(until_ms, passages)
            index += 1
        for sensor in self._sensors:
            yield index, sensor.observe(until_ms)
            index += 1

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
    simulation = Simulation(options)
    devices = {device.name: DevicePlan(device) for device in simulation.devices}
    everything: list[Delivery] = []
    for piece in simulation.slices():
        for reading, _ in piece.planned:
            if reading.malformed is None:
                devices[reading.device].readings.append(reading)
        for delivery in piece.deliveries:
            devices[delivery.reading.device].deliveries.append(delivery)
        everything += piece.deliveries
    return Plan(options, simulation.city.depots, devices, everything)
