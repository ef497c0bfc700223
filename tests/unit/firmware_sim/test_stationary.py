from collections import Counter, defaultdict
from itertools import pairwise
from statistics import fmean

from firmware_sim import Options, plan
from firmware_sim.fleet import Passage, Vehicle
from firmware_sim.roads import City
from firmware_sim.stationary import Reader, giai_96, sscc_96


def bits(epc: str, low: int, width: int) -> int:
    return int(epc, 16) >> low & ((1 << width) - 1)


def test_tags_are_gs1_codes() -> None:
    pallet, vehicle = sscc_96(1_234_567_890), giai_96(42)
    assert (len(pallet), len(vehicle)) == (24, 24)
    assert (bits(pallet, 88, 8), bits(vehicle, 88, 8)) == (0x31, 0x34)
    # Partition 5: a company prefix of seven digits in 24 bits.
    assert bits(pallet, 82, 3) == bits(vehicle, 82, 3) == 5
    assert bits(pallet, 58, 24) == bits(vehicle, 58, 24) == 4_012_345
    assert bits(pallet, 24, 34) == 1_234_567_890
    assert bits(pallet, 0, 24) == 0  # reserved
    assert bits(vehicle, 0, 58) == 42


def reads_of(*, inbound: bool) -> dict[str, dict[int, list[int]]]:
    """When each antenna saw each tag as a vehicle with two pallets passes at 10 s."""
    reader = Reader(0, Options(readers=1), depots=4)
    seen = reader.observe(60_000, [Passage(10_000, 8, 0, inbound, 2, 1)])
    times: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for observed in seen:
        times[observed.body["epc"]][observed.body["antenna"]].append(observed.at_ms)
    return times


def test_a_passage_shows_every_tag_to_both_antennas_in_the_direction_of_travel() -> None:
    for inbound in (True, False):
        times = reads_of(inbound=inbound)
        assert len(times) == 3
        first, second = (1, 2) if inbound else (2, 1)
        for by_antenna in times.values():
            assert 10_000 <= min(by_antenna[first]) <= max(by_antenna[first])
            assert max(by_antenna[first]) < min(by_antenna[second])
            assert max(by_antenna[second]) < 14_000


def test_readers_of_one_depot_share_its_passages_without_overlap() -> None:
    options = Options(readers=9)
    readers = [Reader(k, options, depots=4) for k in range(9)]
    for vehicle in range(50):
        for depot in range(4):
            passage = Passage(0, vehicle, depot, inbound=True, load=0, trip=1)
            serving = [reader.index for reader in readers if reader.serves(passage)]
            assert len(serving) == 1
            assert serving[0] % 4 == depot


def test_how_time_is_sliced_changes_no_read() -> None:
    passages = [Passage(t, v, 0, inbound=True, load=2, trip=1) for t, v in [(500, 4), (900, 8)]]
    whole = Reader(0, Options(readers=1), depots=4).observe(9_000, passages)
    reader = Reader(0, Options(readers=1), depots=4)
    pieces = reader.observe(700, passages[:1]) + reader.observe(1_000, passages[1:])
    for end_ms in range(1_100, 9_100, 100):
        pieces += reader.observe(end_ms, [])
    assert pieces == whole
    assert all(a.at_ms < b.at_ms for a, b in pairwise(whole))


def test_a_run_has_reads_at_every_depot() -> None:
    made = plan(Options(devices=24, sensors=0, readers=4, duration_s=200))
    for device in made.devices.values():
        if device.device.channel == "tag":
            assert len({r.body["epc"] for r in device.readings}) >= 3


def test_an_open_door_warms_the_room_and_a_closed_one_cools_it_again() -> None:
    made = plan(Options(devices=0, readers=0, sensors=12, duration_s=3600))
    peaks = []
    for device in made.devices.values():
        temperatures = [r.body["values"]["temperature_c"] for r in device.readings]
        set_point = -20 if temperatures[0] < -10 else 4
        assert all(set_point - 2 < t < 18 for t in temperatures)
        assert all(30 < r.body["values"]["humidity_pct"] <= 99 for r in device.readings)
        # Slow, as air is: nothing jumps between two measurements 10 s apart.
        assert max(abs(a - b) for a, b in pairwise(temperatures)) < 3
        peaks.append(max(temperatures) - set_point)
        assert min(temperatures) - set_point < 2
    assert fmean(peak > 4 for peak in peaks) > 0.7


def test_each_passage_is_read_once() -> None:
    options = Options(devices=8, sensors=0, readers=4, interval_s=5, duration_s=1800)
    city = City(options.seed, options.center_lon, options.center_lat)
    expected = Counter[str]()
    for number in range(options.devices):
        vehicle = Vehicle(number, options.seed, city, options.interval_s)
        vehicle.observe(1_800_000)
        # The last ones may be cut off by the end of the run.
        passed = [passage for passage in vehicle.passages if passage.at_ms < 1_790_000]
        expected[giai_96(number + 1)] = 4 * len(passed)
    assert expected.total() > 20
    read = Counter(
        reading.body["epc"]
        for device in plan(options).devices.values()
        for reading in device.readings
        if reading.channel == "tag" and reading.made_ms < 1_794_000
    )
    assert {epc: read[epc] for epc in expected} == dict(expected)
