"""The pipeline on a real database: nothing lost, nothing doubled, any order."""

import random
from collections.abc import Sequence

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.mqtt import Message
from tests.integration.ingest_rig import NOW_US, START_US, Rig, message, pos
from tracking.errors import StoreUnavailable
from tracking.quality import Quality

MINUTE = 60.0


def day_of(device: str, rng: random.Random, n: int = 120) -> list[Message]:
    """A vehicle that drives, rests, repeats itself, jumps and loses its fix."""
    t_s, lon, lat, out = 0.0, 13.0, 52.0, []
    for seq in range(n):
        t_s += rng.choice([5, 30, 60, 240, 2_000])
        if rng.random() < 0.6:
            lon += rng.choice([0.0, 1e-5, 3e-4, 3e-3])
            lat += rng.choice([0.0, 1e-5, 2e-4])
        place = (lon, lat)
        if rng.random() < 0.05:
            place = (lon + rng.choice([0.5, 2.0]), lat)
        if rng.random() < 0.03:
            place = (0.0, 0.0)
        members: dict[str, float] = {}
        if rng.random() < 0.7:
            members["speed_mps"] = rng.choice([0.0, 4.0, 14.0])
        if seq % 7:
            members["seq"] = seq % 50  # a device that restarts counting
        out.append(pos(device, t_s, *place, **members))
    return out


def shuffled(
    messages: Sequence[Message], rng: random.Random, *, displaced: bool
) -> list[list[Message]]:
    """The messages in random batches, some twice; near their place or anywhere."""
    again = [m for m in messages if rng.random() < 0.2]
    pile = [*messages, *again]
    if displaced:
        rng.shuffle(pile)
    else:
        keyed = [(i + rng.uniform(0, 12), m) for i, m in enumerate(pile)]
        pile = [m for _, m in sorted(keyed, key=lambda pair: pair[0])]
    batches = []
    while pile:
        size = rng.randint(1, 60)
        batches.append(pile[:size])
        pile = pile[size:]
    return batches


async def test_a_position_is_stored_whole_and_the_device_registered(database_url: str) -> None:
    async with Rig(database_url) as rig:
        [committed] = await rig.feed(
            [
                pos("truck-1", 0, 13.4, 52.5, speed_mps=3.5, seq=7, attrs={"driver": "Ada"}),
                pos("truck-2", 0, 13.5, 52.6),
            ]
        )
        assert (committed.received, committed.stored, committed.duplicate) == (2, 2, 0)
        rows = await rig.rows(
            "SELECT d.name, seq, lon, lat, speed_mps, alt_m, quality, p.attrs, to_hex(h3) "
            "FROM position p JOIN device d ON d.id = p.device_id ORDER BY 1"
        )
        assert rows == [
            ("truck-1", 7, 13.4, 52.5, 3.5, None, 0, {"driver": "Ada"}, rows[0][-1]),
            ("truck-2", -1, 13.5, 52.6, None, None, 0, None, rows[1][-1]),
        ]
        assert await rig.rows("SELECT count(*) FROM device_state WHERE fix_time IS NOT NULL") == [
            (2,)
        ]


async def test_a_batch_delivered_again_changes_nothing(database_url: str) -> None:
    messages = day_of("bus", random.Random(1))
    async with Rig(database_url) as rig:
        await rig.feed(messages)
        before = await rig.truth()
        rig.pipeline = rig.fresh_pipeline()
        [again] = await rig.feed(messages)
        assert (again.stored, again.duplicate) == (0, len(messages))
        assert again.events == []
        assert await rig.repair() == 0
        assert await rig.truth() == before


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32), displaced=st.booleans(), restart=st.booleans())
async def test_any_order_ends_in_the_same_events_and_states(
    database_url: str,
    seed: int,
    displaced: bool,  # noqa: FBT001 -- drawn
    restart: bool,  # noqa: FBT001 -- drawn
) -> None:
    rng = random.Random(seed)
    messages = [m for name in ("a", "b", "c") for m in day_of(f"{name}-{seed}", rng)]
    async with Rig(database_url) as rig:
        await rig.rows("SELECT 1")
        await rig.conn.execute(
            "TRUNCATE position, event, checkpoint, repair, ledger_reason, device CASCADE"
        )
        await rig.feed(messages)
        assert await rig.repair() == 0, "input in order needs no repair"
        expected = await rig.truth()
        await rig.conn.execute(
            "TRUNCATE position, event, checkpoint, repair, ledger_reason, device CASCADE"
        )
        rig.pipeline = rig.fresh_pipeline()
        for batch in shuffled(messages, rng, displaced=displaced):
            await rig.feed(batch)
            if rng.random() < 0.3:
                await rig.repair(checkpoint_every=rng.choice([1, 16, 128]))
            if restart and rng.random() < 0.2:
                rig.pipeline = rig.fresh_pipeline()
        await rig.repair(checkpoint_every=16)
        assert await rig.truth() == expected


async def test_of_two_readings_with_one_key_the_same_wins_in_any_order(database_url: str) -> None:
    one, other = pos("d", 0, 13.0, 52.0), pos("d", 0, 13.001, 52.0)
    tail = [pos("d", 60 * i, 13.0 + i / 1_000, 52.0) for i in range(1, 5)]
    outcomes = []
    async with Rig(database_url) as rig:
        for order in (
            [[one, other, *tail]],
            [[one], tail, [other]],
            [[other], tail, [one], [other]],
        ):
            await rig.conn.execute("TRUNCATE position, event, checkpoint, repair, device CASCADE")
            rig.pipeline = rig.fresh_pipeline()
            for batch in order:
                await rig.feed(batch)
            await rig.repair()
            outcomes.append(await rig.truth())
            [(conflict,)] = await rig.rows("SELECT conflict FROM device_state")
            assert conflict >= 1
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert len(outcomes[0]["positions"]) == 5


async def test_every_reading_is_counted_in_exactly_one_place(database_url: str) -> None:
    rng = random.Random(5)
    messages = day_of("bus", rng)
    async with Rig(database_url) as rig:
        sent = 0
        for batch in shuffled(messages, rng, displaced=True):
            await rig.feed(batch)
            sent += len(batch)
        [(received, stored, duplicate, conflict)] = await rig.rows(
            "SELECT received, stored, duplicate, conflict FROM device_state"
        )
        assert received == sent == stored + duplicate + conflict
        assert [(stored,)] == await rig.rows("SELECT count(*) FROM position")


async def test_a_late_fix_amends_and_retracts_what_it_disproves(database_url: str) -> None:
    there = [pos("van", 60 * i, 13.0 + 0.004 * i, 52.0) for i in range(10)]
    rest = [pos("van", 600 + 60 * i, 13.036, 52.0) for i in range(8)]
    # While the log said it rested, it had been to the other end of town and back.
    trip = [
        pos("van", 690, 13.06, 52.0),
        pos("van", 750, 13.06, 52.0),
        pos("van", 810, 13.06, 52.0),
    ]
    async with Rig(database_url) as rig:
        await rig.feed(there + rest)
        before = await rig.rows("SELECT type, time FROM event WHERE status = 'active'")
        await rig.feed(trip)
        await rig.repair()
        retracted = await rig.rows("SELECT type, time FROM event WHERE status = 'retracted'")
        late = await rig.rows("SELECT count(*) FROM event WHERE late")
        cursors = await rig.rows("SELECT cursor FROM event ORDER BY cursor")
        [(top,)] = await rig.rows("SELECT feed_cursor FROM tenant WHERE name = 'default'")
    assert retracted
    assert set(retracted) <= set(before)
    assert late[0][0] >= 1
    assert cursors[-1][0] == top


@pytest.mark.parametrize(
    ("fix", "expected"),
    [
        pytest.param(pos("d", 0, 0.0, 0.0), Quality.NULL_ISLAND, id="null island"),
        pytest.param(pos("d", 0, 1.0, 1.0, valid=False), Quality.INVALID, id="no fix"),
        pytest.param(pos("d", 0, 1.0, 1.0, accuracy_m=5e3), Quality.INACCURATE, id="inaccurate"),
        pytest.param(pos("d", 40 * 86_400, 1.0, 1.0), Quality.FUTURE, id="future"),
        pytest.param(pos("d", 700, 9.0, 1.0), Quality.IMPOSSIBLE_SPEED, id="jump"),
        pytest.param(pos("d", 660, 1.0, 1.0, seq=5), Quality.DUPLICATE, id="same under a seq"),
        pytest.param(pos("d", 700, 1.0, 1.0, speed_mps=9), Quality.STATIC, id="stuck"),
    ],
)
async def test_a_flawed_fix_is_stored_with_its_reason_and_moves_nothing(
    database_url: str, fix: Message, expected: Quality
) -> None:
    async with Rig(database_url) as rig:
        await rig.feed([pos("d", 600 + 60 * i, 1.0, 1.0) for i in range(2)])
        before = await rig.rows("SELECT fix_time, lon, lat, odometer_m FROM device_state")
        await rig.feed([fix])
        await rig.repair()
        stored = await rig.rows("SELECT quality FROM position WHERE quality <> 0")
        assert stored == [(expected.value,)]
        assert before == await rig.rows("SELECT fix_time, lon, lat, odometer_m FROM device_state")
        assert await rig.rows("SELECT reason, n FROM ledger_reason") == [(expected.label, 1)]


async def test_a_fix_beyond_the_late_horizon_is_stored_as_stale(database_url: str) -> None:
    async with Rig(database_url) as rig:
        await rig.feed([pos("d", 5 * 86_400, 1, 1)], [pos("d", 0, 1, 1)])
        assert await rig.rows("SELECT quality FROM position ORDER BY fix_time") == [(4,), (0,)]
        assert await rig.repair() == 0


async def test_refused_messages_are_kept_with_their_bytes_and_counted(database_url: str) -> None:
    bad = [
        message("wm/default/d/pos", b"{oops"),
        message("wm/default/d/pos", b"{oops"),
        message("wm/nobody/d/pos", pos("d", 0, 1, 1).payload),
        message("wm/default/d+/pos", b"{}"),
        message("wm/default/d/nope", b"{}"),
        message("wm/default/d/pos", b"\xff\xfe"),
        message("wm/default/d/pos", b"\0"),
    ]
    async with Rig(database_url) as rig:
        await rig.feed([*bad, pos("d", 0, 1, 1)])
        letters = await rig.rows(
            "SELECT topic, payload, reason, n, tenant_id IS NULL FROM dead_letter ORDER BY id"
        )
        assert {(t, bytes(p)) for t, p, *_ in letters} == {
            (m.topic.decode(), m.payload) for m in bad
        }
        reasons = {r: n for _, _, r, n, _ in letters}
        assert reasons["not_json"] in {1, 2}
        assert sum(reasons.values()) >= 5
        assert ("unknown_tenant", True) in {(r, orphan) for _, _, r, _, orphan in letters}
        assert await rig.rows("SELECT count(*) FROM position") == [(1,)]
        counted = dict(await rig.rows("SELECT reason, sum(n)::int FROM ledger_reason GROUP BY 1"))
        assert counted["unknown_channel"] == 1


async def test_unknown_devices_are_refused_where_the_setting_says_so(database_url: str) -> None:
    async with Rig(database_url, unknown_devices="reject") as rig:
        [committed] = await rig.feed([pos("ghost", 0, 1, 1)])
        assert committed.stored == 0
        assert await rig.rows("SELECT reason, device FROM dead_letter") == [
            ("unknown_device", "ghost")
        ]
        assert await rig.rows("SELECT count(*) FROM device") == [(0,)]


async def test_sensors_and_tags_are_stored_once_whatever_the_order(database_url: str) -> None:
    def sensor(t_s: float, **values: float) -> Message:
        body = pos("s", t_s, 0, 0).payload.split(b'"')[3]
        text = ",".join(f'"{k}": {v}' for k, v in values.items())
        return message(
            "wm/default/s/sensor", b'{"t": "' + body + b'", "values": {' + text.encode() + b"}}"
        )

    def tag(t_s: float, rssi: float) -> Message:
        body = pos("s", t_s, 0, 0).payload.split(b'"')[3].decode()
        return message(
            "wm/default/s/tag",
            f'{{"t": "{body}", "epc": "30340242201d", "antenna": 1, "rssi_dbm": {rssi}}}'.encode(),
        )

    batch = [
        sensor(0, temperature_c=4.5, humidity_pct=60),
        sensor(9, temperature_c=5),
        tag(0, -50),
        tag(0, -40),
    ]
    async with Rig(database_url) as rig:
        await rig.feed(batch, batch[::-1], [sensor(0, temperature_c=4.25), tag(0, -60)])
        assert await rig.rows(
            "SELECT metric, value FROM measurement ORDER BY fix_time, metric"
        ) == [
            ("humidity_pct", 60.0),
            ("temperature_c", 4.5),
            ("temperature_c", 5.0),
        ]
        assert await rig.rows("SELECT epc, antenna, rssi_dbm FROM tag_read") == [
            ("30340242201D", 1, -40.0)
        ]
        [(received, stored, duplicate, conflict)] = await rig.rows(
            "SELECT received, stored, duplicate, conflict FROM device_state"
        )
        assert received == stored + duplicate + conflict == 12
        assert stored == 4


async def test_a_repeated_status_is_one_event(database_url: str) -> None:
    def status(online: str, at_us: int) -> Message:
        return message("wm/default/d/status", b'{"online": ' + online.encode() + b"}", at_us)

    async with Rig(database_url) as rig:
        await rig.feed([status("true", NOW_US), status("true", NOW_US + 1)])
        await rig.feed([status("true", NOW_US + 2)], [status("false", NOW_US + 3)])
        assert await rig.rows("SELECT type FROM event ORDER BY cursor") == [
            ("device.online",),
            ("device.offline",),
        ]


async def test_two_workers_taking_turns_on_one_device_agree(database_url: str) -> None:
    messages = day_of("bus", random.Random(3))
    async with Rig(database_url) as rig, Rig(database_url) as second:
        await rig.feed(messages)
        await rig.repair()
        expected = await rig.truth()
        await rig.conn.execute(
            "TRUNCATE position, event, checkpoint, repair, ledger_reason, device CASCADE"
        )
        rig.pipeline = rig.fresh_pipeline()
        for i in range(0, len(messages), 10):
            await (rig, second)[i // 10 % 2].feed(messages[i : i + 10])
        assert await second.rows("SELECT count(*) FROM repair") == [(0,)]
        assert await rig.truth() == expected


async def test_a_batch_decided_on_a_state_another_worker_moved_is_decided_anew(
    database_url: str,
) -> None:
    # 20 km in 150 s: a jump, unless one knows the way there.
    start = [pos("d", 0, 13.0, 52.0), pos("d", 60, 13.0, 52.0)]
    way = [pos("d", 60 + 14 * i, 13.0 + 0.028 * i, 52.0, accuracy_m=999) for i in range(1, 11)]
    step = [pos("d", 210, 13.285, 52.0)]
    async with Rig(database_url) as rig, Rig(database_url) as second:
        await rig.feed(start)
        await second.feed(way)
        await rig.feed(step)
        assert await rig.rows("SELECT count(*) FROM position WHERE quality <> 0") == [(0,)]
        assert await rig.rows("SELECT count(*) FROM repair") == [(0,)]


async def test_a_device_deleted_under_a_running_worker_is_registered_anew(
    database_url: str,
) -> None:
    async with Rig(database_url) as rig:
        await rig.feed([pos("d", 0, 1, 1), pos("e", 0, 1, 1)])
        await rig.conn.execute("DELETE FROM device WHERE name = 'd'")
        with pytest.raises(StoreUnavailable, match="deleted"):
            await rig.feed([pos("d", 60, 1, 1), pos("e", 60, 1, 1)])
        await rig.feed([pos("d", 60, 1, 1), pos("e", 60, 1, 1)])
        assert await rig.rows(
            "SELECT d.name, s.stored FROM device_state s JOIN device d ON d.id = s.device_id "
            "ORDER BY 1"
        ) == [("d", 1), ("e", 2)]


async def test_a_lost_connection_is_a_transient_fault_and_the_batch_can_be_tried_again(
    database_url: str,
) -> None:
    messages = day_of("bus", random.Random(4))
    async with Rig(database_url) as rig:
        await rig.feed(messages[:60])
        with psycopg.connect(database_url, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'rig' AND datname = current_database()"
            )
        with pytest.raises(StoreUnavailable):
            await rig.feed(messages[60:])
    async with Rig(database_url) as again:
        again.pipeline = rig.pipeline
        await again.feed(messages[60:])
        assert await again.rows("SELECT count(*) FROM position") == [(len(messages),)]


def test_the_rig_starts_in_the_past_of_its_clock() -> None:
    assert START_US < NOW_US
