"""Erasing devices, and keeping less than the installation does."""

from datetime import UTC, datetime, timedelta

import pytest

from ingest.mqtt import Message
from tests.integration.ingest_rig import NOW_US, START_US, Rig, message, moment, pos
from tracking.errors import StoreUnavailable
from tracking.store.erasures import erase_device, erase_some, get_erasure, list_erasures
from tracking.store.retention import Retention, apply_retention, get_retention, put_retention
from tracking.times import from_us

DAY_S = 86_400.0
TENANT = 1


def life(device: str, days: int = 3) -> list[Message]:
    """Drives, readings, tags and rubbish of some days, with a stop in each."""
    messages: list[Message] = []
    for day in range(days):
        start_s = day * DAY_S
        messages += [pos(device, start_s + 30 * i, 1 + i * 0.002, 1) for i in range(40)]
        messages.append(
            message(
                f"wm/default/{device}/sensor",
                b'{"t": "%s", "values": {"temperature_c": 4}}' % moment(start_s).encode(),
            )
        )
        messages.append(
            message(
                f"wm/default/{device}/tag",
                b'{"t": "%s", "epc": "3034257BF7194E4000001A85"}' % moment(start_s).encode(),
            )
        )
    messages.append(message(f"wm/default/{device}/pos", b"rubbish " + device.encode()))
    return messages


async def traces(rig: Rig, device_id: int, name: str) -> dict[str, int]:
    """Where anything of a device is still found, and how many rows."""
    by_id = await rig.rows(
        "SELECT c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
        "WHERE a.attname = 'device_id' AND c.relkind IN ('r', 'p') AND NOT c.relispartition "
        "AND c.relnamespace = current_schema::regnamespace"
    )
    found: dict[str, int] = {}
    for (table,) in by_id:
        n = (await rig.rows(f"SELECT count(*) FROM {table} WHERE device_id = {device_id}"))[0][0]  # noqa: S608
        found |= {table: n} if n else {}
    for table in ("dead_letter", "ledger_reason"):
        n = (await rig.rows(f"SELECT count(*) FROM {table} WHERE device = '{name}'"))[0][0]  # noqa: S608
        found |= {table: n} if n else {}
    return found


async def id_of(rig: Rig, name: str) -> int:
    return int((await rig.rows(f"SELECT id FROM device WHERE name = '{name}'"))[0][0])  # noqa: S608


async def erase_all(rig: Rig) -> int:
    """Work like the monitor; how many parts it took."""
    parts = 0
    while await erase_some(rig.conn, settled_after=timedelta(0)):
        parts += 1
    return parts


async def test_nothing_of_an_erased_device_is_left_and_others_keep_all(database_url: str) -> None:
    async with Rig(database_url) as rig:
        await rig.feed(life("gone"), life("kept"))
        gone, kept = await id_of(rig, "gone"), await id_of(rig, "kept")
        before = await traces(rig, kept, "kept")
        assert {"position", "measurement", "tag_read", "event", "device_state"} <= before.keys()
        assert (await traces(rig, gone, "gone")).keys() == before.keys()
        asked = await erase_device(rig.conn, TENANT, "gone", "the test")
        assert asked is not None
        assert await erase_all(rig) > 3, "a day of a series is a part of its own"
        assert await traces(rig, gone, "gone") == {}
        assert await traces(rig, kept, "kept") == before
        done = await get_erasure(rig.conn, TENANT, asked.id)
        assert done is not None
        assert done.finished_at is not None
        assert done.rows_n >= sum(
            before[table] for table in ("position", "measurement", "tag_read", "event")
        )
        assert await list_erasures(rig.conn, TENANT, before=None, limit=10) == [done]


async def test_what_webhooks_were_told_of_it_is_forgotten(database_url: str) -> None:
    async with Rig(database_url) as rig:
        await rig.feed(life("gone"))
        await rig.conn.execute(
            "WITH made AS (INSERT INTO webhook (tenant_id, id, body, secrets, enabled) "
            "VALUES (1, 'w', '{}', '', true) RETURNING number), head AS (INSERT INTO webhook_head "
            "SELECT number, 1, 'gone', 0, 'm', 1, now(), now() FROM made) "
            "INSERT INTO webhook_delivery (tenant_id, webhook_number, message, type, subject, "
            "state, tries) SELECT 1, number, 'm-' || about, 't', about, 'delivered', 1 "
            "FROM made, unnest(ARRAY['gone', 'kept']) about"
        )
        await erase_device(rig.conn, TENANT, "gone", None)
        await erase_all(rig)
        assert await rig.rows("SELECT subject FROM webhook_delivery") == [("kept",)]
        assert await rig.rows("SELECT subject FROM webhook_head") == []


async def test_the_device_is_gone_from_the_moment_of_asking(database_url: str) -> None:
    async with Rig(database_url) as rig:
        await rig.feed(life("gone"))
        await erase_device(rig.conn, TENANT, "gone", None)
        assert await rig.rows("SELECT name FROM device") == []
        assert await rig.rows("SELECT device FROM dead_letter") == []
        assert await erase_device(rig.conn, TENANT, "gone", None) is None


async def test_what_a_backfill_refused_of_a_device_goes_and_of_others_stays(
    database_url: str,
) -> None:
    async with Rig(database_url) as rig:
        await rig.feed(life("gone", days=1))
        await rig.rows(
            "INSERT INTO backfill (tenant_id, alerts, created_by, refused) VALUES (1, false, 'me', "
            """'[{"line": 1, "device": "gone"}, {"line": 2, "device": "kept"}, {"line": 3, """
            """"device": null}]') RETURNING id"""
        )
        await erase_device(rig.conn, TENANT, "gone", None)
        ((left,),) = await rig.rows("SELECT refused FROM backfill")
        assert [refused["line"] for refused in left] == [2, 3]


async def test_a_device_that_sends_on_starts_anew_and_its_new_life_is_not_erased(
    database_url: str,
) -> None:
    async with Rig(database_url) as rig:
        await rig.feed(life("van"))
        old = await id_of(rig, "van")
        await erase_device(rig.conn, TENANT, "van", None)
        again = [pos("van", 10 * DAY_S, 2, 2)]
        with pytest.raises(StoreUnavailable, match="registering it anew"):
            await rig.feed(again)
        # As the worker does with what it may not acknowledge yet.
        await rig.feed(again)
        await erase_all(rig)
        new = await id_of(rig, "van")
        assert new != old
        assert await traces(rig, old, "nobody") == {}
        assert (await traces(rig, new, "van"))["position"] == 1


async def test_an_erasure_is_not_finished_before_writers_have_settled(database_url: str) -> None:
    async with Rig(database_url) as rig:
        await rig.feed(life("gone", days=1))
        asked = await erase_device(rig.conn, TENANT, "gone", None)
        assert asked is not None
        while await erase_some(rig.conn):
            pass
        waiting = await get_erasure(rig.conn, TENANT, asked.id)
        assert waiting is not None
        assert waiting.finished_at is None
        # A writer that had the device in hand commits late.
        await rig.rows(
            "INSERT INTO event (id, tenant_id, cursor, type, subject, device_id, time, data) "
            f"SELECT gen_random_uuid(), 1, 999, 'device.silent', 'gone', {await erased_id(rig)}, "
            "now(), '{}' RETURNING id"
        )
        await rig.rows("UPDATE erasure SET checked_at = NULL RETURNING id")
        await erase_all(rig)
        assert await traces(rig, await erased_id(rig), "gone") == {}
        done = await get_erasure(rig.conn, TENANT, asked.id)
        assert done is not None
        assert done.finished_at is not None


async def erased_id(rig: Rig) -> int:
    return int((await rig.rows("SELECT subject_id FROM erasure"))[0][0])


async def test_two_who_erase_at_once_do_not_wait_for_each_other(database_url: str) -> None:
    async with Rig(database_url) as rig, Rig(database_url) as other:
        await rig.feed(life("gone", days=1))
        await erase_device(rig.conn, TENANT, "gone", None)
        async with rig.conn.transaction():
            await rig.conn.execute("SELECT FROM erasure FOR UPDATE")
            assert not await erase_some(other.conn, settled_after=timedelta(0))


@pytest.mark.parametrize("what", ["positions", "measurements", "tag_reads", "events"])
async def test_retention_removes_what_is_older_and_only_that(database_url: str, what: str) -> None:
    tables = {
        "positions": ("position", "fix_time"),
        "measurements": ("measurement", "fix_time"),
        "tag_reads": ("tag_read", "fix_time"),
        "events": ("event", "time"),
    }
    async with Rig(database_url) as rig:
        await rig.feed(life("van", days=5))
        counts = {
            table: (await rig.rows(f"SELECT count(*) FROM {table}"))[0][0]  # noqa: S608
            for table, _ in tables.values()
        }
        await put_retention(rig.conn, TENANT, Retention(**{f"{what}_days": 2}))
        now = from_us(START_US) + timedelta(days=5)
        removed = await apply_retention(rig.conn, now)
        assert removed > 0
        table, column = tables[what]
        oldest = (await rig.rows(f"SELECT min({column}), count(*) FROM {table}"))[0]  # noqa: S608
        assert oldest[0] >= now - timedelta(days=2)
        assert oldest[1] == counts[table] - removed > 0
        for other, _ in tables.values():
            if other != table:
                assert (await rig.rows(f"SELECT count(*) FROM {other}"))[0][0] == counts[other]  # noqa: S608
        assert await apply_retention(rig.conn, now) == 0


async def test_retention_of_one_tenant_is_not_anothers(database_url: str) -> None:
    async with Rig(database_url) as rig:
        await rig.rows("INSERT INTO tenant (name) VALUES ('other') RETURNING id")
        await rig.feed(life("van"))
        await put_retention(rig.conn, 2, Retention(positions_days=1, events_days=1))
        assert await apply_retention(rig.conn, datetime.now(UTC)) == 0


async def test_dead_letters_and_the_audit_log_go_by_their_own_time(database_url: str) -> None:
    async with Rig(database_url) as rig:
        await rig.feed(life("van", days=1))
        await put_retention(rig.conn, TENANT, Retention(dead_letters_days=30))
        assert await apply_retention(rig.conn, from_us(NOW_US) + timedelta(days=29)) == 0
        assert await apply_retention(rig.conn, from_us(NOW_US) + timedelta(days=31)) == 1


async def test_what_is_chosen_is_what_is_told(database_url: str) -> None:
    async with Rig(database_url) as rig:
        assert await get_retention(rig.conn, TENANT) == Retention()
        for wanted in (Retention(positions_days=30, audit_days=400), Retention(events_days=7)):
            await put_retention(rig.conn, TENANT, wanted)
            assert await get_retention(rig.conn, TENANT) == wanted
