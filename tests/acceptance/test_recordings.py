"""Real recordings through the whole path: what is stored is what an independent count says."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.count_capmetro import count
from tests.acceptance.rig import World, environment
from tests.services import wait_until

DAYS = ("2016-11-24", "2016-11-25", "2016-11-26", "2015-03-08")


def replay(world: World, files: list[Path]) -> dict[str, Any]:
    """Run `waymark replay`; return its summary once all of it is settled."""
    [(before,)] = world.rows("SELECT coalesce(sum(received), 0)::int FROM device_state")
    done = subprocess.run(
        [sys.executable, "-m", "waymark", "replay", "--json", *map(str, files)],
        env=environment(WAYMARK_MQTT_URL=world.broker.url),
        capture_output=True,
        check=True,
    )
    summary: dict[str, Any] = json.loads(done.stdout)
    settled = (
        "SELECT sum(received)::int + (SELECT coalesce(sum(n), 0)::int FROM dead_letter) "
        "FROM device_state"
    )
    expected = before + summary["published"]
    wait_until(
        lambda: (
            world.rows(settled) == [(expected,)]
            and world.rows("SELECT count(*) FROM repair") == [(0,)]
        ),
        f"{expected} readings are settled and repaired",
        120,
    )
    return summary


def snapshot(world: World) -> dict[str, list[tuple[Any, ...]]]:
    """Everything a second replay must leave as it is."""
    return {
        "positions": world.rows(
            "SELECT count(*), sum(hashtextextended(p::text, 0)) FROM position p"
        ),
        "events": world.rows("SELECT * FROM event ORDER BY id"),
        "cursor": world.rows("SELECT feed_cursor FROM tenant ORDER BY id"),
        "reasons": world.rows("SELECT * FROM ledger_reason ORDER BY 1, 2, 3"),
    }


@pytest.mark.timeout(600)
def test_four_days_of_austins_buses_are_stored_to_the_row_and_replaying_them_changes_nothing(
    tmp_path: Path, shared_data: Path
) -> None:
    files = [shared_data / "data" / "capmetro_austin" / f"{day}.csv.gz" for day in DAYS]
    counted = count(files)
    with World(tmp_path / "austin", workers=1) as world:
        summary = replay(world, files)
        assert summary["rows"] == counted["rows"]
        rows, quality_rows = world.rows(
            "SELECT count(*)::int, count(*) FILTER (WHERE quality <> 0)::int FROM position"
        )[0]
        [(received, stored, duplicate, conflict)] = world.rows(
            "SELECT sum(received)::int, sum(stored)::int, sum(duplicate)::int, "
            "sum(conflict)::int FROM device_state"
        )
        reasons = dict(world.rows("SELECT reason, sum(n)::int FROM ledger_reason GROUP BY 1"))
        assert rows == stored == counted["distinct_vehicle_time"]
        assert received == counted["rows"] == stored + duplicate + conflict
        assert quality_rows == sum(reasons.values())
        vehicles = world.rows("SELECT count(*)::int FROM device")
        assert vehicles == [(counted["vehicles"],)]
        before = snapshot(world)
        assert len(before["events"]) > 1_000

        replay(world, files)
        assert snapshot(world) == before
        print(json.dumps({"counted": counted, "reasons": reasons, "events": len(before["events"])}))  # noqa: T201 -- for the record
