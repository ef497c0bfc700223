"""Positions of a made fleet on a square of ground, each fixed at the moment it is made."""

import random
from datetime import UTC, datetime

from h3.api import basic_int as h3

from tracking.feed import PositionUpdate, position_update

DEVICES = 10_000
# West, south, degrees: a city and its surroundings.
GROUND = (5.0, 52.0, 0.5)

_luck = random.Random(1)
_places = [
    tuple(start + GROUND[2] * _luck.random() for start in GROUND[:2]) for _ in range(DEVICES)
]


def fix(number: int) -> PositionUpdate:
    """The next position of device `number` modulo the fleet's size, some metres on; 270 bytes."""
    lon, lat = _places[number % DEVICES]
    lon += 1e-5 * (number // DEVICES % 100)
    now = datetime.now(UTC)
    return position_update(
        f"vehicle-{number % DEVICES:05}", now, now, lon, lat, 12.3, 13.9, 271.5, 4.8, 0.87, 0,
        h3.latlng_to_cell(lat, lon, 10), None,
    )  # fmt: skip
