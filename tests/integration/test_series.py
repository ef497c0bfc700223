"""Upkeep of the time series, on partitions and on chunks alike."""

from datetime import UTC, datetime, timedelta

from ingest.monitor import upkeep
from tests.integration.ingest_rig import NOW_US, Rig, pos
from tracking.settings import load_settings
from tracking.store.series import attach_day, days_without_partition, has_chunks

DAY_S = 86_400.0


async def test_upkeep_moves_waiting_rows_and_loses_none(database_url: str) -> None:
    async with Rig(database_url) as rig:
        await rig.feed([pos("d", day * DAY_S + 60 * i, 1, 1) for day in range(3) for i in range(9)])
        before = await rig.truth()
        await upkeep(rig.conn, load_settings())
        await upkeep(rig.conn, load_settings())
        assert await rig.truth() == before
        if not await has_chunks(rig.conn):
            assert await rig.rows("SELECT count(*) FROM position_default") == [(0,)]
            assert await days_without_partition(rig.conn, "position", ahead=3, limit=99) == []
        await rig.feed([pos("d", day * DAY_S + 60 * i, 1, 1) for day in range(3) for i in range(9)])
        assert await rig.truth() | {"states": []} == before | {"states": []}


async def test_a_day_is_attached_once(database_url: str) -> None:
    async with Rig(database_url) as rig:
        day = datetime.now(UTC).date()
        first = await attach_day(rig.conn, "position", day)
        assert first != await has_chunks(rig.conn)
        assert not await attach_day(rig.conn, "position", day)


async def test_retention_drops_only_what_is_older(database_url: str) -> None:
    old_s = -400 * DAY_S
    now_s = (datetime.now(UTC) - datetime.fromtimestamp(NOW_US / 1e6, UTC)) / timedelta(seconds=1)
    recent_s = now_s + 30 * DAY_S - 600
    async with Rig(database_url) as rig:
        await rig.feed([pos("d", old_s, 1, 1)], [pos("e", recent_s, 1, 1)])
        await upkeep(rig.conn, load_settings(retention_days=365))
        rows = await rig.rows("SELECT d.name FROM position p JOIN device d ON d.id = p.device_id")
        assert rows == [("e",)]


async def test_checkpoints_beyond_the_late_horizon_are_forgotten_but_one(
    database_url: str,
) -> None:
    async with Rig(database_url) as rig:
        for batch in range(6):
            await rig.feed([pos("d", batch * DAY_S + 60 * i, 1, 1) for i in range(130)])
        assert await rig.rows("SELECT count(*) FROM checkpoint") == [(6,)]
        await upkeep(rig.conn, load_settings(late_horizon_h=36))
        assert await rig.rows("SELECT count(*) FROM checkpoint") == [(3,)]
