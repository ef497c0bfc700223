"""What simulated devices do on command."""

import json
from itertools import pairwise
from typing import Any

import pytest

from firmware_sim import Options, Simulation
from firmware_sim.console import Console

OPTIONS = Options(devices=1, readers=1, sensors=1, duration_s=60)


def command(name: str, payload: object = None, id_: str = "1") -> bytes:
    return json.dumps({"id": id_, "name": name, "payload": payload}).encode()


def said(answer: bytes | None) -> dict[str, Any]:
    assert answer is not None
    found: dict[str, Any] = json.loads(answer)
    return found


def test_an_interval_holds_from_the_last_observation_on() -> None:
    simulation = Simulation(OPTIONS)
    console = Console(simulation)
    made: list[int] = []
    answer = None
    for piece in simulation.slices():
        made += [r.made_ms for r, _ in piece.planned if r.device == "vehicle-00001"]
        if len(made) == 10 and answer is None:
            answer = said(console.obey("vehicle-00001", command("interval", {"interval_s": 5})))
    assert answer == {"id": "1", "status": "succeeded", "result": {"interval_s": 5}}
    gaps = [b - a for a, b in pairwise(made)]
    assert gaps[:9] == [1_000] * 9
    assert len(gaps[9:]) >= 8
    assert set(gaps[9:]) == {5_000}


def test_a_shorter_interval_makes_nothing_up_for_the_past() -> None:
    simulation = Simulation(Options(devices=1, readers=0, sensors=0, interval_s=600, duration_s=60))
    sent: list[int] = []
    for piece in simulation.slices():
        if piece.end_ms == 30_000:
            assert simulation.set_interval("vehicle-00001", 0.5)
        sent += [delivery.at_ms for delivery in piece.deliveries]
    assert sent == list(range(30_000, 60_000, 500))


def test_nobody_is_changed_by_a_command_to_another() -> None:
    plain, commanded = Simulation(OPTIONS), Simulation(OPTIONS)
    Console(commanded).obey("sensor-00001", command("interval", {"interval_s": 1}))

    def payloads(simulation: Simulation, device: str) -> list[bytes]:
        return [
            reading.payload
            for piece in simulation.slices()
            for reading, _ in piece.planned
            if reading.device == device
        ]

    assert payloads(plain, "vehicle-00001") == payloads(commanded, "vehicle-00001")


def test_the_same_command_is_done_once_and_answered_each_time() -> None:
    console = Console(Simulation(OPTIONS))
    first = console.obey("vehicle-00001", command("interval", {"interval_s": 5}))
    # It would fail, were it looked at again.
    again = console.obey("vehicle-00001", command("interval", {"interval_s": -1}))
    assert first == again
    assert console.obeyed == 1


@pytest.mark.parametrize(
    ("device", "name", "payload"),
    [
        ("vehicle-00001", "reboot", None),
        ("vehicle-00001", "interval", None),
        ("vehicle-00001", "interval", {"interval_s": "5"}),
        ("vehicle-00001", "interval", {"interval_s": 0}),
        ("vehicle-00001", "interval", {"interval_s": float("nan")}),
        ("reader-00001", "interval", {"interval_s": 5}),
    ],
)
def test_what_cannot_be_done_fails_with_a_reason(device: str, name: str, payload: object) -> None:
    answer = said(Console(Simulation(OPTIONS)).obey(device, command(name, payload)))
    assert answer["status"] == "failed"
    assert answer["result"]["error"]


@pytest.mark.parametrize("payload", [b"", b"[]", b"7", b"{}", b"\xff", b'{"id":[],"name":"ping"}'])
def test_what_is_no_command_is_not_answered(payload: bytes) -> None:
    assert Console(Simulation(OPTIONS)).obey("vehicle-00001", payload) is None
