"""An invented town with a fleet in it, for pictures and crowds.

`python -m tests.browser.town` serves the built map with it, for work on the looks of the page.
"""

import math
import random
import sys
import time
from typing import Any

from tests.browser.fake_waymark import KEY, FakeWaymark, position

Json = dict[str, Any]
KINDS = ("van", "truck", "bus")


class Town:
    """Vehicles that drive along the streets of an invented grid, turning at its corners."""

    def __init__(self, vehicles: int, lon: float = -97.743, lat: float = 30.268) -> None:
        self._rng = random.Random(7)
        self._lon, self._lat = lon, lat
        side = max(6, int(math.sqrt(vehicles)))
        self._cars = [
            {
                "name": f"{self._rng.choice(KINDS)}-{n + 1:0{len(str(vehicles))}d}",
                "x": self._rng.randint(-side, side) * 400.0,
                "y": self._rng.randint(-side, side) * 400.0,
                "dir": self._rng.randrange(4),
                "speed": self._rng.uniform(6, 17),
                "rest": self._rng.randint(0, 100) if self._rng.random() < 0.2 else 0,
                "left": 400.0,
            }
            for n in range(vehicles)
        ]
        self._reach = side * 400.0

    def step(self, seconds: float) -> list[Json]:
        """Drive on, and tell where everyone is."""
        return [self._drive(car, seconds) for car in self._cars]

    def _drive(self, car: Json, seconds: float) -> Json:
        moving = car["rest"] <= 0
        car["rest"] -= seconds
        if moving:
            go = min(car["speed"] * seconds, car["left"])
            car["x"] += (0, go, 0, -go)[car["dir"]]
            car["y"] += (go, 0, -go, 0)[car["dir"]]
            car["left"] -= go
            if car["left"] <= 0:
                self._corner(car)
        turn = 0.32  # no town is laid out due north
        x = car["x"] * math.cos(turn) - car["y"] * math.sin(turn)
        y = car["x"] * math.sin(turn) + car["y"] * math.cos(turn)
        lon = self._lon + x / (111_320 * math.cos(math.radians(self._lat)))
        course = (car["dir"] * 90 - math.degrees(turn)) % 360
        speed = car["speed"] if moving else 0.0
        lat = self._lat + y / 110_540
        return position(car["name"], lon, lat, speed_mps=speed, course_deg=course)

    def _corner(self, car: Json) -> None:
        car["left"] = 400.0
        if self._rng.random() < 0.35:
            car["dir"] = (car["dir"] + self._rng.choice((1, 3))) % 4
        if abs(car["x"]) > self._reach:
            car["dir"] = 3 if car["x"] > 0 else 1
        elif abs(car["y"]) > self._reach:
            car["dir"] = 2 if car["y"] > 0 else 0
        if self._rng.random() < 0.04:
            car["rest"] = self._rng.randint(5, 40)


def main() -> None:
    """Drive until interrupted."""
    fake, town = FakeWaymark(), Town(int(sys.argv[1]) if len(sys.argv) > 1 else 120)
    with fake.serving(port=8090):
        sys.stdout.write(f"{fake.url}#key={KEY}\n")
        last = time.monotonic()
        while True:
            time.sleep(1)
            now = time.monotonic()
            fake.move(*town.step(now - last))
            last = now


if __name__ == "__main__":
    main()
