from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_sim import Faults, OptionError, Options, Plan, Simulation, plan

HARSH = replace(Faults.preset("harsh"), tunnel_s=5.0, offline_s=8.0, clock_jump_s=5.0)
FAULTS = [HARSH, replace(HARSH, backlog="oldest", tunnel_buffered=True)]


def small(seed: int, **changes: object) -> Options:
    options = Options(seed=seed, devices=3, readers=4, sensors=2, duration_s=25, faults=HARSH)
    return replace(options, **changes)  # type: ignore[arg-type]


def wire(made: Plan) -> dict[str, list[tuple[str, bytes]]]:
    """What each device sends, in order."""
    return {
        name: [(delivery.topic, delivery.reading.payload) for delivery in device.deliveries]
        for name, device in made.devices.items()
    }


def readings(made: Plan) -> list[bytes]:
    return sorted(
        device.device.name.encode() + reading.payload
        for device in made.devices.values()
        for reading in device.published
    )


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**40), st.sampled_from(FAULTS))
def test_the_same_seed_gives_the_same_bytes_in_the_same_order(seed: int, faults: Faults) -> None:
    options = small(seed, faults=faults)
    assert wire(plan(options)) == wire(plan(options))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**40), st.sampled_from(FAULTS))
def test_clean_and_faulty_runs_say_the_same(seed: int, faults: Faults) -> None:
    options = small(seed, faults=faults)
    faulty, clean = plan(options), plan(replace(options, clean=True))
    assert readings(faulty) == readings(clean)
    arrived = {
        (d.topic, d.reading.payload) for d in faulty.deliveries if d.reading.malformed is None
    }
    assert arrived == {(d.topic, d.reading.payload) for d in clean.deliveries}


def test_a_clean_run_delivers_each_reading_once_when_it_is_made() -> None:
    clean = plan(small(3, clean=True))
    for device in clean.devices.values():
        assert [delivery.reading for delivery in device.deliveries] == device.published
    assert all(delivery.at_ms == delivery.reading.made_ms for delivery in clean.deliveries)


def test_seeds_differ() -> None:
    assert wire(plan(small(1))) != wire(plan(small(2)))


def test_a_device_does_not_depend_on_how_many_others_there_are() -> None:
    few, many = plan(small(5)), plan(small(5, devices=9, sensors=4))
    for name in ("vehicle-00003", "sensor-00002"):
        assert wire(few)[name] == wire(many)[name]


def test_a_longer_run_begins_like_a_shorter_one() -> None:
    short, long = plan(small(5)), plan(small(5, duration_s=50))
    for name, device in short.devices.items():
        assert device.readings == long.devices[name].readings[: len(device.readings)]


def test_the_start_only_shifts_the_clock() -> None:
    options = small(5, faults=Faults())
    later = replace(options, start_ms=options.start_ms + 5_000)
    before, after = plan(options), plan(later)
    assert [d.at_ms for d in before.deliveries] == [d.at_ms for d in after.deliveries]
    assert [d.reading.t_ms + 5_000 for d in before.deliveries] == [
        d.reading.t_ms for d in after.deliveries
    ]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**40))
def test_seq_counts_and_no_channel_stamps_one_time_twice(seed: int) -> None:
    for device in plan(small(seed)).devices.values():
        assert [r.seq for r in device.readings] == list(range(len(device.readings)))
        times = [reading.t_ms for reading in device.readings]
        assert len(set(times)) == len(times)
        made = [reading.made_ms for reading in device.readings]
        assert made == sorted(set(made))


def test_nothing_is_delivered_before_it_is_made_and_the_order_is_that_of_time() -> None:
    made = plan(small(8))
    assert all(delivery.at_ms >= delivery.reading.made_ms for delivery in made.deliveries)
    assert made.deliveries == sorted(made.deliveries)


def test_a_fractional_end_is_kept() -> None:
    made = plan(small(1, duration_s=2.5, faults=Faults()))
    last_ms = max(delivery.at_ms for delivery in made.deliveries)
    assert 1_500 < last_ms < 2_500


def test_a_plan_without_an_end_is_refused() -> None:
    with pytest.raises(OptionError, match="--for"):
        plan(Options(duration_s=0))


def test_a_stopped_simulation_still_hands_out_what_it_holds() -> None:
    simulation = Simulation(small(2, duration_s=0.0, faults=Faults(duplicates=1.0)))
    planned = delivered = 0
    for number, piece in enumerate(simulation.slices()):
        if number == 10:
            simulation.stop()
        planned += sum(count for _, count in piece.planned)
        delivered += len(piece.deliveries)
    assert planned == delivered > 0
