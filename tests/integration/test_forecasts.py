"""Forecasts of shipments on a real database: told once, stored, stale when nobody is heard."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest

from ingest.forecasts import Forecaster
from tests.integration.ingest_rig import START_US, pos
from tests.integration.test_routes import DEPOT_STOP, ROUTED, WRONG_TURN, RoadOffice
from tests.integration.test_routes import drive as wrong_turn
from tests.integration.test_shipments import PLAN, STEP_S, Office, drive
from tracking.custody import Ref
from tracking.estimates import Estimate
from tracking.eta import outlook
from tracking.eta.engine import Engine, local_day_s
from tracking.eta.nearby import Start
from tracking.eta.trip import Trip
from tracking.shipment_fold import derive
from tracking.shipments import PlannedWindow
from tracking.store.connection import Connection, connect
from tracking.store.custody import custody_of, numbers_of
from tracking.store.erasures import erase_device
from tracking.store.eta_turn import take_due
from tracking.store.shipment_edits import edit_shipment
from tracking.times import from_us, to_us

QUIET_S = 900.0
# When the drive comes to the depot and to the shop, and leaves them: as in its own tests.
AT_SHOP_S = 1_310

TOLD = """
SELECT type, time, rule, data ->> 'old', (data ->> 'new')::timestamptz, data ->> 'reason', revision
FROM event WHERE type IN ('shipment.eta_changed', 'shipment.at_risk', 'shipment.safe')
ORDER BY cursor
"""


def at(t_s: float) -> datetime:
    return from_us(START_US + round(t_s * 1e6))


async def estimate(office: Office) -> Estimate | None:
    [(stored,)] = await office.rows("SELECT estimate::text FROM shipment_eta")
    return None if stored is None else msgspec.json.decode(stored, type=Estimate)


async def look(office: Office, t_s: float, forecaster: Forecaster | None = None) -> int:
    """Look at what is due at a moment of device time; how many events that made."""
    turns = forecaster or Forecaster(QUIET_S)
    n = 0
    while (told := await turns.turn(office.conn, at(t_s))) is not None:
        n += len(told)
    return n


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Office]:
    async with Office(database_url) as office:
        await office.feed([pos("gps", -600, 4.9, 0.0), pos("other", -600, 4.9, 0.0)])
        await office.asset("truck")
        yield office


async def under_way(office: Office, **window: datetime) -> None:
    """A shipment on the truck, which is on its way to the depot."""
    shop = PLAN.stops[1]
    if window:
        shop = msgspec.structs.replace(shop, window=PlannedWindow(None, window["until"]))
    await office.plan(msgspec.structs.replace(PLAN, stops=(PLAN.stops[0], shop)))
    await office.attach("device/gps", "asset/truck")
    await office.attach("shipment/s1", "asset/truck")
    await office.settle()


async def learned(office: Office) -> None:
    """Have the tenant's engine know the way from the depot to the shop."""
    engine, shop = Engine(), (5.1, 0.0)
    took_s = np.arange(1_000.0, 0.0, -60.0)
    for n in range(-60, 0):
        arrived_s = START_US / 1e6 + 600.0 * n
        starts = [
            Start((5.1 - s * 1e-4, 0.0), shop, s * 11.1, local_day_s(arrived_s - s, 5.0))
            for s in took_s.tolist()
        ]
        engine.learn(Trip(starts, took_s, arrived_s))
    await office.conn.execute(
        "INSERT INTO eta_model (tenant_id, version, made_by, upto, trips, fixes, engine) "
        "VALUES (%s, 1, 'train', 0, 60, 1020, %s)",
        (office.tenant.id, engine.save()),
    )


async def test_estimates_come_to_what_comes_about(office: Office) -> None:
    await learned(office)
    await under_way(office)
    forecaster, off_s = Forecaster(QUIET_S), []
    messages = drive("gps", end=145)
    for i, message in enumerate(messages):
        await office.feed([message])
        await office.settle()
        t_s = i * STEP_S
        await look(office, t_s, forecaster)
        found = await estimate(office)
        assert found is not None
        assert found.as_of <= at(t_s)
        shop = next((one for one in found.stops if one.stop == 1), None)
        if shop is not None and t_s > 340:
            off_s.append(abs((shop.p50 - at(AT_SHOP_S)).total_seconds()))
    assert max(off_s) < 120.0
    assert max(off_s[-20:]) < 90.0
    changes = await office.rows(TOLD)
    driving = {"first", "progress", "traffic", "longer_stop", "shorter_stop"}
    assert {row[5] for row in changes} <= driving
    assert len(changes) < 20
    assert all(row[6] == 1 for row in changes)
    kept = await office.rows(
        "SELECT stop, legs, lane, bool_and(p10_at <= p50_at AND p50_at <= p90_at AND "
        "made_at < p50_at AND path = 'detour' AND model = 1) FROM eta_forecast "
        "GROUP BY 1, 2, 3 ORDER BY 1, 2"
    )
    lane = "Depot 0.000,5.000 -> Shop 0.000,5.100"
    assert kept == [(0, 1, "Depot 0.000,5.000", True), (1, 1, lane, True), (1, 2, lane, True)]
    await office.feed(drive("gps", 145, 180))
    await office.settle()
    assert await office.rows("SELECT count(*) FROM shipment_eta") == [(0,)]


async def test_a_timetable_is_followed_before_anything_is_learned(office: Office) -> None:
    """It is to leave the depot at 630 and to come to the shop at 2,230; it leaves much earlier."""
    depot, shop = (
        msgspec.structs.replace(stop, window=PlannedWindow(at(t_s)), service_s=130.0)
        for stop, t_s in zip(PLAN.stops, (500, 2_230), strict=True)
    )
    await office.plan(msgspec.structs.replace(PLAN, stops=(depot, shop), timetable=True))
    await office.attach("device/gps", "asset/truck")
    await office.attach("shipment/s1", "asset/truck")
    await office.settle()
    found = []
    # On the way to the depot, there, and an eighth of the way to the shop.
    for start, end in ((0, 11), (11, 26), (26, 45)):
        await office.feed(drive("gps", start, end))
        await office.settle()
        await look(office, STEP_S * end)
        told = await estimate(office)
        assert told is not None
        found.append(next(one.p50 for one in told.stops if one.stop == 1))
    assert found[:2] == [at(2_230), at(2_230)]
    assert abs((found[2] - at(440 + 1_600 * 0.88)).total_seconds()) < 30.0


async def test_a_carrier_that_tells_nothing_new_costs_nothing(office: Office) -> None:
    await under_way(office)
    await office.feed(drive("gps", end=40))
    await office.settle()
    assert await look(office, 400) == 1
    before = await office.rows("SELECT xmin::text, estimate FROM shipment_eta")
    assert await look(office, 405) == 0
    assert await office.rows("SELECT xmin::text, estimate FROM shipment_eta") == before
    assert await look(office, 600) == 0
    [(_, same)] = await office.rows("SELECT xmin::text, estimate FROM shipment_eta")
    assert same == before[0][1]


async def test_what_is_not_heard_of_is_not_forecast(office: Office) -> None:
    await under_way(office)
    assert await look(office, 0) == 0, "nobody saw it since it was attached"
    assert await estimate(office) is None
    await office.feed(drive("gps", end=60))
    await office.settle()
    assert await look(office, 590 + QUIET_S + 1) == 0
    assert await estimate(office) is None
    assert await look(office, 600 + QUIET_S + 100) == 0
    await office.feed(drive("gps", 60, 61))
    assert await look(office, 4_000) == 0, "a fix of an hour ago is no news"
    await office.feed([pos("gps", 4_100, 5.05, 0.0)])
    assert await look(office, 4_110) == 1


async def test_nobody_carries_it(office: Office) -> None:
    await office.plan()
    await office.attach("device/gps", "asset/truck")
    await office.attach("shipment/s1", "asset/truck", 0, 600)
    await office.feed(drive("gps", end=60))
    await office.settle()
    assert await look(office, 595) == 1
    assert await look(office, 700) == 0
    assert await office.rows("SELECT device_id, estimate IS NULL FROM shipment_eta") == [
        (None, False)
    ]


async def test_who_carries_them_is_whom_custody_tells(office: Office) -> None:
    rng, now = random.Random(5), at(0)
    await office.asset(*(f"a{n}" for n in range(6)))
    await office.feed([pos(f"d{n}", -600, 4.9, 0.0) for n in range(4)])
    claims = [(f"asset/a{n}", f"asset/a{rng.randrange(n + 1, 7)}") for n in range(4)]
    claims = [claim for claim in claims if claim[1] != "asset/a6"]
    claims += [(f"device/d{n}", f"asset/a{rng.randrange(6)}") for n in range(4)]
    for n in range(12):
        await office.plan(msgspec.structs.replace(PLAN, id=f"s{n}"))
        carrier = rng.choice([*(f"asset/a{i}" for i in range(6)), "device/gps", None])
        claims += [] if carrier is None else [(f"shipment/s{n}", carrier)]
    for load, carrier in claims:
        await office.attach(load, carrier, rng.randrange(-1_000, -10), rng.choice([None, -5, 50]))
    await office.settle()
    ids = [f"s{n}" for n in range(12)]
    custody = await custody_of(office.conn, office.tenant.id, [Ref("shipment", id_) for id_ in ids])
    assert custody is not None
    now_us = to_us(now)
    wanted = [custody.segments(Ref("shipment", id_), now_us, now_us + 1)[0].device for id_ in ids]
    due = await take_due(office.conn, now, 100)
    numbers = await numbers_of(office.conn, office.tenant.id, "shipment", ids)
    found = {one.number: one.carrier for one in due}
    told = [found[numbers[id_]] for id_ in ids]
    assert [None if one is None else one.device for one in told] == wanted
    assert len(set(wanted)) > 2


async def test_two_monitors_tell_each_change_once(office: Office, database_url: str) -> None:
    for n in range(30):
        await office.plan(msgspec.structs.replace(PLAN, id=f"s{n}"))
        await office.attach(f"shipment/s{n}", "device/gps")
    await office.feed(drive("gps", end=40))
    await office.settle()

    async def monitor() -> int:
        forecaster = Forecaster(QUIET_S)
        async with await connect(database_url, name="monitor") as conn:
            return len(await forecaster.turn(conn, at(400)) or [])

    told = await asyncio.gather(*(monitor() for _ in range(4)))
    assert sum(told) == 30
    assert await office.rows(
        "SELECT count(*), max(revision), count(DISTINCT subject) FROM event "
        "WHERE type = 'shipment.eta_changed'"
    ) == [(30, 1, 30)]
    assert await office.rows("SELECT count(*) FROM eta_forecast") == [(30,)]


async def test_who_leaves_its_route_is_expected_some_other_way_until_it_is_back(
    database_url: str,
) -> None:
    async with RoadOffice(database_url) as office:
        await office.feed([pos("gps", -600, 4.9, 0.0)])
        await office.plan(ROUTED)
        await office.attach("shipment/s1", "device/gps")
        await office.settle()
        forecaster = Forecaster(QUIET_S)
        paths: list[str] = []
        messages = wrong_turn(WRONG_TURN, end=len(DEPOT_STOP) + 90)
        for i, message in enumerate(messages):
            await office.feed([message])
            if i >= len(DEPOT_STOP) + 30:
                await office.settle()
                await look(office, i * STEP_S, forecaster)
                found = await estimate(office)
                assert found is not None
                if not paths or paths[-1] != found.path:
                    paths.append(found.path)
        assert paths == ["route", "detour", "route"]
        reasons = [row[5] for row in await office.rows(TOLD)]
        assert reasons[0] == "first"
        assert "left_route" in reasons
        kept = await office.rows("SELECT DISTINCT path FROM eta_forecast ORDER BY 1")
        assert kept == [("detour",), ("route",)]


class Killed(Exception):  # noqa: N818 -- what happens to it
    """The monitor is gone before its commit."""


async def test_a_monitor_that_is_killed_between_is_repeated(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    await under_way(office, until=at(700))
    await office.feed(drive("gps", end=40))
    await office.settle()

    async def killed(*_: Any) -> None:  # noqa: ANN401
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("ingest.forecasts.write_events", killed)
        with pytest.raises(Killed):
            await look(office, 400)
    assert await office.rows("SELECT count(*) FROM eta_forecast") == [(0,)]
    assert await office.rows(TOLD) == []
    assert await look(office, 400) == 2
    types = [(row[0], row[1], row[2]) for row in await office.rows(TOLD)]
    assert types == [
        ("shipment.eta_changed", at(390), "stop:1"), ("shipment.at_risk", at(390), "stop:1"),
    ]  # fmt: skip


async def test_what_was_expected_of_an_erased_device_goes_with_it(office: Office) -> None:
    await under_way(office)
    await office.feed(drive("gps", end=40))
    await office.settle()
    assert await look(office, 400) == 1
    assert await erase_device(office.conn, office.tenant.id, "gps", "ann")
    assert await estimate(office) is None
    await office.settle()
    assert await look(office, 410) == 0
    assert await estimate(office) is None


async def test_a_plan_that_changes_is_told_at_once(office: Office) -> None:
    await under_way(office)
    await office.feed(drive("gps", end=40))
    await office.settle()
    await look(office, 400)

    def nearer(plan: Any) -> Any:  # noqa: ANN401 -- Plan
        place = msgspec.structs.replace(plan.stops[1].place, lon=5.05)
        stop = msgspec.structs.replace(plan.stops[1], place=place)
        return msgspec.structs.replace(plan, stops=(plan.stops[0], stop))

    await edit_shipment(office.conn, office.tenant, "s1", nearer, author="test")
    await office.settle()
    # The same fix tells another time: it is what was said of that moment, put right.
    assert await look(office, 401) == 1
    [told] = await office.rows(TOLD)
    assert told[5:] == ("plan_changed", 2)


async def test_a_shipment_that_cannot_be_forecast_does_not_stall_the_others(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3):
        await office.plan(msgspec.structs.replace(PLAN, id=f"s{n}"))
        await office.attach(f"shipment/s{n}", "device/gps")
    await office.feed(drive("gps", end=40))
    await office.settle()

    def poisoned(plan: Any, *rest: Any) -> Any:  # noqa: ANN401
        if plan.id == "s1":
            raise ValueError("poison")
        return outlook.look(plan, *rest)

    monkeypatch.setattr("ingest.forecasts.look", poisoned)
    # As a newer version of the program may have it.
    newer = "UPDATE shipment SET record = record || %s::jsonb WHERE id = 's2'"
    await office.conn.execute(newer, ['{"status": "beamed_up"}'])
    assert await look(office, 400) == 1
    assert await look(office, 401) == 0
    monkeypatch.undo()
    await office.conn.execute(newer, ['{"status": "picked_up"}'])
    assert await look(office, 701) == 2


async def test_a_shipment_that_cannot_be_derived_does_not_stall_the_others(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3):
        await office.plan(msgspec.structs.replace(PLAN, id=f"s{n}"))
        await office.attach(f"shipment/s{n}", "device/gps")

    def poisoned(plan: Any, *rest: Any, **more: Any) -> Any:  # noqa: ANN401
        if plan.id == "s1":
            raise ValueError("poison")
        return derive(plan, *rest, **more)

    monkeypatch.setattr("tracking.store.rederive.derive", poisoned)
    await office.feed(drive("gps", end=40))
    await office.settle()
    status = "SELECT id, status, held_until > now() FROM shipment ORDER BY id"
    assert await office.rows(status) == [
        ("s0", "picked_up", None), ("s1", "planned", True), ("s2", "picked_up", None),
    ]  # fmt: skip
    monkeypatch.undo()
    # Whoever edits it need not wait.
    await edit_shipment(
        office.conn, office.tenant, "s1",
        lambda plan: msgspec.structs.replace(plan, order_ref="o2"), author="test",
    )  # fmt: skip
    await office.settle()
    assert (await office.rows(status))[1] == ("s1", "picked_up", None)


async def _connected(database_url: str) -> Connection:
    return await connect(database_url, name="other")


async def test_who_derives_and_who_forecasts_do_not_wait_for_each_other(
    office: Office, database_url: str
) -> None:
    """Both hold rows that the other wants; whoever comes second waits, and nobody is thrown out."""
    for n in range(20):
        await office.plan(msgspec.structs.replace(PLAN, id=f"s{n}"))
        await office.attach(f"shipment/s{n}", "device/gps")
    await office.feed(drive("gps", end=30))
    await office.settle()
    stop = asyncio.Event()

    async def forecast() -> None:
        forecaster = Forecaster(QUIET_S)
        async with await _connected(database_url) as conn:
            while not stop.is_set():
                await forecaster.turn(conn, at(10_000) - timedelta(seconds=9_500))

    async def drive_on() -> None:
        for i in range(30, 60):
            await office.feed(drive("gps", i, i + 1))
            await office.settle()
        stop.set()

    await asyncio.gather(forecast(), forecast(), drive_on())
    assert await office.rows(
        "SELECT max(n) FROM (SELECT count(*) AS n FROM event WHERE type = 'shipment.eta_changed' "
        "GROUP BY subject, rule, time) t"
    ) == [(1,)]
