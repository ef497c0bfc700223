"""Who is there and what they observe: the devices of a scene, moved forward together. Pure."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from firmware_sim.fleet import Observed, Passage, Vehicle
from firmware_sim.options import Options
from firmware_sim.roads import City
from firmware_sim.stationary import Reader, Sensor
from firmware_sim.ticks import Ticks


class DeviceName(NamedTuple):
    """A simulated device: its name, the channel it speaks on and its number among all devices."""

    name: str
    channel: str
    number: int


class Scene(Protocol):
    """What a simulation is of. `ticks` are of those devices whose interval can be changed."""

    devices: list[DeviceName]
    ticks: dict[str, Ticks]

    def observe(self, until_ms: int) -> Iterator[tuple[int, list[Observed]]]:
        """By device number, in order, what was observed since the last call, before *until_ms*."""


def device_names(options: Options) -> list[DeviceName]:
    """Every device of a town; a device's name and behaviour do not depend on the others'."""
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


class Town:
    """Vans at random in a city, readers at its depots and sensors in cold rooms."""

    def __init__(self, options: Options) -> None:
        self.devices = device_names(options)
        self.city = City(options.seed, options.center_lon, options.center_lat)
        self._vehicles = [
            Vehicle(k, options.seed, self.city, options.interval_s) for k in range(options.devices)
        ]
        self._readers = [Reader(k, options, len(self.city.depots)) for k in range(options.readers)]
        self._sensors = [Sensor(k, options) for k in range(options.sensors)]
        paced = [*self._vehicles, *([None] * options.readers), *self._sensors]
        self.ticks = {
            device.name: one.ticks
            for device, one in zip(self.devices, paced, strict=True)
            if one is not None
        }

    def observe(self, until_ms: int) -> Iterator[tuple[int, list[Observed]]]:
        """By device number, in order, what was observed since the last call, before *until_ms*."""
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
