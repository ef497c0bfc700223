"""Nothing lost, nothing doubled: a fleet at full speed while everything is killed in turn."""

import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.acceptance.rig import Manifest, World, stored, truth
from tests.services import wait_until

SIMULATED_S = 1_200
# As long as a restart by hand takes; from then on an outage is only more of the same.
DATABASE_AWAY_S = 60.0
REDIS_AWAY_S = 30.0


def fleet(*extra: str) -> tuple[str, ...]:
    start = datetime.now(UTC) - timedelta(seconds=SIMULATED_S)
    return (
        "--devices", "200", "--readers", "4", "--sensors", "10", "--interval", "1",
        "--for", str(SIMULATED_S), "--start", start.isoformat(), "--fast", "--connections", "8",
        "--seed", "11", "--faults", "harsh", *extra,
    )  # fmt: skip


def wreak_havoc(world: World, rng: random.Random) -> None:
    """Ten kills of workers, and one outage of each server, spread over about two minutes."""

    def kill_a_worker() -> None:
        worker = rng.choice(world.ingest)
        worker.kill()
        time.sleep(rng.uniform(0, 0.5))
        worker.start()

    blows = [(rng.uniform(3, 110), kill_a_worker) for _ in range(10)]
    blows += [
        (12, world.postgres.kill),
        (12 + DATABASE_AWAY_S, world.postgres.start),
        (20, world.valkey.kill),
        (20 + REDIS_AWAY_S, world.valkey.start),
        (85, world.broker.restart),
    ]
    started = time.monotonic()
    for at_s, blow in sorted(blows, key=lambda pair: pair[0]):
        time.sleep(max(0.0, started + at_s - time.monotonic()))
        blow()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("workers", [1, 2], ids=["one worker", "two workers"])
def test_the_manifest_and_the_database_agree_after_every_server_and_worker_was_killed(
    tmp_path: Path, workers: int
) -> None:
    options = fleet()
    with World(tmp_path / "storm", workers=workers) as storm:
        simulator = storm.simulate(tmp_path / "storm.jsonl", *options)
        wreak_havoc(storm, random.Random(workers))
        assert simulator.wait(300) == 0
        published = Manifest.read(tmp_path / "storm.jsonl")
        storm.settle(published, 180)
        found, after_storm = stored(storm), truth(storm)
        doubled = storm.rows(
            "SELECT device_id, fix_time, seq FROM position GROUP BY 1, 2, 3 HAVING count(*) > 1"
        )
        cursors = [c for (c,) in storm.rows("SELECT cursor FROM event ORDER BY cursor")]
        for worker in storm.ingest:
            worker.stop()
    assert found.positions == published.positions
    assert found.measurements == published.measurements
    assert found.tags == published.tags
    assert found.refused == published.refused
    assert doubled == []
    assert len(set(cursors)) == len(cursors)

    with World(tmp_path / "calm", workers=1) as calm:
        simulator = calm.simulate(tmp_path / "calm.jsonl", *options, "--clean")
        assert simulator.wait(300) == 0
        calm.settle(Manifest.read(tmp_path / "calm.jsonl"), 120)
        in_order = truth(calm)
    assert after_storm["qualities"] == in_order["qualities"]
    assert after_storm["states"] == in_order["states"]
    assert after_storm["events"] == in_order["events"]
    assert len(in_order["events"]) > 200


def test_a_worker_told_to_stop_finishes_what_it_received(tmp_path: Path) -> None:
    with World(tmp_path / "world", workers=1) as world:
        simulator = world.simulate(
            tmp_path / "m.jsonl", "--devices", "50", "--for", "120", "--fast", "--seed", "3"
        )
        wait_until(
            lambda: world.rows("SELECT count(*) > 500 FROM position") == [(True,)], "rows arrive"
        )
        world.ingest[0].stop()
        world.ingest[0].start()
        assert simulator.wait(60) == 0
        published = Manifest.read(tmp_path / "m.jsonl")
        world.settle(published, 60)
        assert stored(world).positions == published.positions
        [(duplicates,)] = world.rows("SELECT sum(duplicate)::int FROM device_state")
        assert duplicates == 0, "a drained worker leaves nothing to be delivered again"
