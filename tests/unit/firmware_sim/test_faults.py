"""Delivery faults: each changes how readings arrive, and nothing else."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from statistics import fmean

import pytest

from firmware_sim import Delivery, Faults, Options, plan
from firmware_sim.distortion import tunnels_of
from firmware_sim.noise import Noise, Windows

VEHICLES = 6
SECONDS = 300


def sent(**faults: object) -> list[list[Delivery]]:
    """What each of six vehicles sends in five minutes."""
    made = plan(options(**faults))
    return [device.deliveries for device in made.devices.values()]


def options(**faults: object) -> Options:
    return Options(
        devices=VEHICLES,
        readers=0,
        sensors=0,
        duration_s=SECONDS,
        faults=replace(Faults(), **faults),  # type: ignore[arg-type]
    )


def seqs(deliveries: list[Delivery]) -> list[int]:
    return [delivery.reading.seq for delivery in deliveries]


def test_without_faults_everything_arrives_once_in_order_at_once() -> None:
    for deliveries in sent():
        assert seqs(deliveries) == list(range(SECONDS))
        assert all(d.at_ms == d.reading.made_ms and d.copy == 0 for d in deliveries)


def test_duplicates_repeat_the_same_bytes_at_their_rate_soon_or_much_later() -> None:
    delays = []
    copies = 0
    for deliveries in sent(duplicates=0.2, duplicate_late_s=100):
        first = {d.reading.seq: d for d in deliveries if d.copy == 0}
        assert len(first) == SECONDS
        for delivery in deliveries:
            if delivery.copy:
                copies += 1
                assert delivery.reading is first[delivery.reading.seq].reading
                delays.append(delivery.at_ms - first[delivery.reading.seq].at_ms)
    # 0.2 + 0.04 + ... of all readings.
    assert copies / (VEHICLES * SECONDS) == pytest.approx(0.25, rel=0.15)
    assert min(delays) >= 0
    assert 50_000 < max(delays) <= 100_000
    assert fmean(delay <= 5_000 for delay in delays) > 0.6


def test_reordering_stays_within_its_window_and_loses_nothing() -> None:
    held_back = 0
    for deliveries in sent(reorder=0.3, reorder_window_s=8):
        assert sorted(seqs(deliveries)) == list(range(SECONDS))
        held_back += sum(d.at_ms > d.reading.made_ms for d in deliveries)
        newest_ms = 0
        for delivery in deliveries:
            assert newest_ms - delivery.reading.made_ms <= 8_001
            newest_ms = max(newest_ms, delivery.reading.made_ms)
        assert seqs(deliveries) != sorted(seqs(deliveries))
    assert held_back / (VEHICLES * SECONDS) == pytest.approx(0.3, rel=0.15)


@pytest.mark.parametrize(("backlog", "step"), [("oldest", 1), ("newest", -1)])
def test_a_backlog_is_flushed_in_its_order_when_the_device_is_back(backlog: str, step: int) -> None:
    share = []
    for number, deliveries in enumerate(sent(offline=0.3, offline_s=20, backlog=backlog)):
        windows = Windows(Noise(1, f"vehicle-{number + 1:05d}", "offline"), 0.3, 20.0)
        kept: dict[int, list[Delivery]] = {}
        for delivery in deliveries:
            window = windows.at(delivery.reading.made_ms)
            if window is None:
                assert delivery.at_ms == delivery.reading.made_ms
            else:
                assert delivery.at_ms >= window.end_ms
                kept.setdefault(window.number, []).append(delivery)
        for backlog_sent in kept.values():
            assert {b - a for a, b in pairwise(seqs(backlog_sent))} <= {step}
        assert sorted(seqs(deliveries)) == list(range(SECONDS))
        share.append(sum(map(len, kept.values())) / SECONDS)
    assert fmean(share) == pytest.approx(0.3, rel=0.25)


def test_a_buffered_tunnel_delays_what_a_plain_one_swallows() -> None:
    plain = sent(tunnels=0.2, tunnel_s=10)
    buffered = sent(tunnels=0.2, tunnel_s=10, tunnel_buffered=True)
    for number, (without, late) in enumerate(zip(plain, buffered, strict=True)):
        windows = tunnels_of(f"vehicle-{number + 1:05d}", "pos", options(tunnels=0.2, tunnel_s=10))
        assert not any(windows.at(d.reading.made_ms) for d in without)
        inside = [d for d in late if windows.at(d.reading.made_ms)]
        assert len(without) + len(inside) == len(late) == SECONDS
        assert all(d.at_ms > d.reading.made_ms for d in inside)
        assert all("tunnel" in d.reading.faults for d in inside)
        # The order is kept, though fixes made while the buffer is being sent mix with it.
        assert seqs(inside) == sorted(seqs(inside))


def test_malformed_messages_come_on_top() -> None:
    kinds = Counter[str | None]()
    for deliveries in sent(malformed=0.3):
        good = [d for d in deliveries if d.reading.malformed is None]
        assert seqs(good) == list(range(SECONDS))
        kinds.update(d.reading.malformed for d in deliveries)
    extra = kinds.total() - kinds[None]
    assert extra / kinds[None] == pytest.approx(0.3, rel=0.15)


def test_all_faults_together_lose_nothing_but_what_is_lost() -> None:
    made = plan(
        options(loss=0.1, duplicates=0.2, reorder=0.2, offline=0.2, offline_s=20, malformed=0.1)
    )
    for device in made.devices.values():
        arrived = {d.reading.seq for d in device.deliveries if d.reading.malformed is None}
        lost = {r.seq for r in device.readings if "loss" in r.faults}
        assert arrived | lost == set(range(SECONDS))
        assert not arrived & lost
        assert lost
