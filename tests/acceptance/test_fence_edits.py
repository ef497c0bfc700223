"""Fences edited and deleted under full load: in force at once, everywhere, and nothing lost."""

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import shapely

from geofence.shapes import Kind, Shape
from tests.acceptance.rig import World
from tests.benchmarks.generator import Load
from tests.benchmarks.load import generator
from tests.benchmarks.packets import Stream
from tests.services import wait_until
from tracking.fences import FenceDraft
from tracking.store.connection import Connection, connect
from tracking.store.fence_edits import delete_fences, save_fences

DEVICES, RATE = 5_000, 5_000.0
SECONDS = 40
IN_FORCE_WITHIN_S = 2.0


def area(south: float, north: float) -> FenceDraft:
    """Everything between two latitudes, where the fleet drives east on its own latitudes."""
    box = shapely.box(5.0, south, 75.0, north)
    document = json.dumps(json.loads(shapely.to_geojson(box))).encode()
    return FenceDraft("area", "Area", Shape(Kind.POLYGON, box), document)


def tenant_id(world: World) -> int:
    [(id_,)] = world.rows("SELECT id FROM tenant WHERE name = 'default'")
    return int(id_)


def edit(world: World, drafts: Sequence[FenceDraft], gone: Sequence[str] = ()) -> None:
    async def work() -> None:
        conn: Connection = await connect(world.postgres.url(), name="editor")
        if drafts:
            await save_fences(conn, tenant_id(world), drafts, author="test")
        if gone:
            await delete_fences(conn, tenant_id(world), gone)
        await conn.close()

    asyncio.run(work())


def first_heard_s(world: World, type_: str, since: str) -> dict[int, float]:
    """Per worker, seconds from the edit to the first event that tells of it."""
    rows = world.rows(
        "SELECT e.subject, extract(epoch FROM e.recorded_at - v.revised_at)::float8 "  # noqa: S608
        "FROM event e, (SELECT max(revised_at) AS revised_at FROM fence_version) v "
        f"WHERE e.type = '{type_}' AND e.recorded_at >= v.revised_at {since}"
    )
    first: dict[int, float] = {}
    for subject, after_s in rows:
        worker = crc32(f"wm/default/{subject}".encode()) % 2  # as `ingest.split` divides them
        first[worker] = min(after_s, first.get(worker, after_s))
    return first


def counts(world: World, query: str) -> Any:  # noqa: ANN401 -- whatever is counted
    rows = world.rows(query)
    return rows[0][0] if rows else None


def test_an_edit_under_load_is_in_force_on_every_worker_within_two_seconds(tmp_path: Path) -> None:
    with World(tmp_path / "world", workers=2) as world:
        stream = Stream("van", DEVICES, DEVICES * SECONDS, int(time.time() * 1e6), 1_000_000)
        load = Load(world.broker.host, world.broker.port, stream, rate=RATE)
        with generator(load) as source:
            source.go()
            wait_until(
                lambda: counts(world, "SELECT count(*) FROM position") > 4 * DEVICES, "a start"
            )
            # The fleet's latitudes are 10.0, 10.4 ... 29.6; the area holds the first half.
            edit(world, [area(9.0, 19.8)])
            wait_until(lambda: len(first_heard_s(world, "fence.entered", "")) == 2, "it is heard")
            assert max(first_heard_s(world, "fence.entered", "").values()) < IN_FORCE_WITHIN_S
            inside = "SELECT count(*) FROM event WHERE type = 'fence.entered' AND status = 'active'"
            wait_until(lambda: counts(world, inside) == DEVICES // 2, "all are inside", 40)

            edit(world, [area(9.0, 15.0)])
            left = "SELECT count(*) FROM event WHERE type = 'fence.exited' AND status = 'active'"
            wait_until(lambda: len(first_heard_s(world, "fence.exited", "")) == 2, "it is heard")
            assert max(first_heard_s(world, "fence.exited", "").values()) < IN_FORCE_WITHIN_S
            outside = sum(1 for device in range(DEVICES) if 15.0 < latitude(device) < 19.8)
            wait_until(lambda: counts(world, left) == outside, "those outside have left", 40)

            edit(world, [], gone=["area"])
            deleted = f"{left} AND data->>'reason' = 'deleted'"
            heard = "AND e.data->>'reason' = 'deleted'"
            wait_until(lambda: len(first_heard_s(world, "fence.exited", heard)) == 2, "deleted")
            assert max(first_heard_s(world, "fence.exited", heard).values()) < IN_FORCE_WITHIN_S
            wait_until(
                lambda: counts(world, deleted) == DEVICES // 2 - outside, "all are closed", 40
            )
            wait_until(lambda: source.finished, "all is sent", 60)
            sent = source.report()
        wait_until(
            lambda: counts(world, "SELECT count(*) FROM position") == sent.published,
            "all stored",
            40,
        )
        wait_until(lambda: counts(world, "SELECT count(*) FROM repair") == 0, "nothing waits", 60)
        assert counts(world, "SELECT count(*) FROM dead_letter") == 0
        open_visits = world.rows(
            "SELECT i.subject FROM event i WHERE i.type = 'fence.entered' AND i.status = 'active' "
            "AND NOT EXISTS (SELECT FROM event o WHERE o.type = 'fence.exited' AND "
            "o.status = 'active' AND o.subject = i.subject AND o.time > i.time)"
        )
        assert open_visits == []
        # Whatever a worker told on fences it did not know were old is as if it had known.
        [(version_from, version_to)] = world.rows(
            "SELECT min(valid_from), max(valid_to) FROM fence_version"
        )
        late = world.rows(
            "SELECT count(*) FROM event e "  # noqa: S608 -- our own times
            "WHERE e.status = 'active' AND e.type LIKE 'fence.%' "
            f"AND (e.time < '{version_from}' OR e.time > '{version_to}'::timestamptz)"
        )
        assert late == [(0,)]


def latitude(device: int) -> float:
    """Where a device of the stream drives."""
    return 10.0 + device // 100 % 100 * 0.4
