"""Training on a real database: out of what was driven, by cursor, once, whoever is killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from ingest.mqtt import Message
from ingest.training import Trained, Training, train
from tests.integration.ingest_rig import START_US, Rig, pos
from tests.integration.test_shipments import PLAN, Office, drive
from tracking.errors import InputError, ModelUnreadable
from tracking.eta.engine import Engine, Leg
from tracking.eta.lessons import Unfit
from tracking.settings import load_settings
from tracking.shipments import Plan, PlannedWindow
from tracking.store.connection import Connection, connect
from tracking.store.driven import driven_after
from tracking.store.erasures import erase_device, erase_some
from tracking.store.eta_models import (
    latest_engine,
    line_of,
    list_models,
    pin_version,
    save_version,
    sole_trainer,
)
from tracking.times import from_us
from waymark.eta import eta_app

START_S = START_US / 1e6
EVERY_S = 7_200.0
# Along the equator a thousandth of a degree is 111 m: 3 km through a town at 5.5 m/s, then up to
# 6 km of open road at 14 m/s.
STEP_DEG, TOWN_STEPS, TOWN_S, OPEN_S = 0.001, 30, 20.0, 8.0
STEPS = [35, 60, 90]


# The tenant every new database has.
TENANT = 1


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[Rig]:
    async with Rig(database_url) as rig:
        yield rig


def trip(n: int) -> list[Message]:
    """The n-th device's trip, with a rest at either end."""
    start_s, steps, device = EVERY_S * n, STEPS[n % len(STEPS)], f"van-{n}"
    before = [(60.0 * minute, 0) for minute in range(-7, 0)]
    way = [(reached_s(step), step) for step in range(steps + 1)]
    after = [(reached_s(steps) + 60.0 * minute, steps) for minute in range(1, 8)]
    return [
        pos(device, start_s + at_s, 5.0 + STEP_DEG * step, 0.0)
        for at_s, step in before + way + after
    ]


def reached_s(step: int) -> float:
    return TOWN_S * min(step, TOWN_STEPS) + OPEN_S * max(step - TOWN_STEPS, 0)


def off_s(engine: Engine, n: int) -> float:
    """How far off a forecast of the n-th trip is as it begins."""
    end = STEP_DEG * STEPS[n % len(STEPS)]
    leg = Leg((5.0, 0.0), (5.0 + end, 0.0), end * 111_319.0)
    took_s = reached_s(STEPS[n % len(STEPS)])
    return abs(engine.forecast(leg, START_S + EVERY_S * n).p50_s - took_s)


async def trained(conn: Connection, *, from_scratch: bool = False) -> Trained:
    done = await train(conn, TENANT, "train", from_scratch=from_scratch)
    assert done is not None
    return done


async def saved(rig: Rig, version: int) -> bytes:
    [(engine,)] = await rig.rows("SELECT engine FROM eta_model WHERE version = %s", [version])
    return bytes(engine)


async def test_forecasts_of_trips_it_has_not_seen_are_better_than_untrained_ones(rig: Rig) -> None:
    for n in range(24):
        await rig.feed(trip(n))
    done = await trained(rig.conn)
    assert (done.version, done.learned.trips, done.learned.left_out) == (1, 24, {})
    found = await latest_engine(rig.conn, TENANT, 0)
    assert found is not None
    version, engine = found
    assert version == 1
    assert await latest_engine(rig.conn, TENANT, 1) is None
    errors_s = [sum(off_s(one, n) for n in range(24, 30)) for one in (engine, Engine())]
    assert errors_s[0] < 0.3 * errors_s[1]
    # Its own account agrees: trips were forecast before they were learned.
    assert all(one.mae_s < one.plain_mae_s for one in done.learned.merits())


async def test_learning_bit_by_bit_is_learning_from_scratch(rig: Rig) -> None:
    for n in range(5):
        await rig.feed(trip(n))
    assert (await trained(rig.conn)).version == 1
    for n in range(5, 9):
        await rig.feed(trip(n))
    more = await trained(rig.conn)
    assert (more.version, more.learned.trips) == (2, 4)
    # Nothing has ended since: no version.
    assert (await trained(rig.conn)).version is None
    assert (await trained(rig.conn, from_scratch=True)).version == 3
    assert await saved(rig, 2) == await saved(rig, 3)
    models = await list_models(rig.conn, TENANT)
    assert [(one.version, one.trips, one.used) for one in models] == [
        (3, 9, True), (2, 9, False), (1, 5, False),
    ]  # fmt: skip


async def test_a_trip_that_is_amended_later_is_learned_once(rig: Rig) -> None:
    await rig.feed(trip(2))
    assert (await trained(rig.conn)).learned.trips == 1
    # It went a little around, which becomes known late.
    await rig.feed([pos("van-2", 2 * EVERY_S + reached_s(35) + 4.0, 5.0355, 0.001)])
    assert await rig.repair() == 1
    done = await trained(rig.conn)
    assert (done.version, done.learned.trips) == (None, 0)
    assert set(done.learned.left_out) == {Unfit.KNOWN}


async def test_of_two_trainers_one_makes_the_version(rig: Rig, database_url: str) -> None:
    for n in range(3):
        await rig.feed(trip(n))
    other = await connect(database_url, name="other")
    try:
        async with sole_trainer(other, TENANT):
            assert await train(rig.conn, TENANT, "monitor") is None
        both = await asyncio.gather(
            train(rig.conn, TENANT, "monitor"), train(other, TENANT, "train")
        )
    finally:
        await other.close()
    assert sorted(done.version for done in both if done and done.version) == [1]
    assert len(await list_models(rig.conn, TENANT)) == 1


async def test_the_monitor_trains_who_has_driven_and_not_too_often(
    rig: Rig, database_url: str
) -> None:
    monitor = Training(load_settings(database_url=database_url, eta_train_every_s=900.0))
    await monitor.turn(rig.conn)
    assert await list_models(rig.conn, TENANT) == []
    await rig.feed(trip(0))
    await monitor.turn(rig.conn)
    await rig.feed(trip(1))
    await monitor.turn(rig.conn)
    [first] = await list_models(rig.conn, TENANT)
    assert (first.version, first.made_by, first.trips) == (1, "monitor", 1)
    await rig.rows("UPDATE eta_model SET made_at = now() - interval '1 hour' RETURNING 1")
    await monitor.turn(rig.conn)
    assert [one.trips for one in await list_models(rig.conn, TENANT)] == [2, 1]


async def test_the_monitor_goes_on_training(rig: Rig, database_url: str) -> None:
    settings = load_settings(database_url=database_url, eta_train_every_s=0.05)
    training = asyncio.create_task(Training(settings).follow())
    try:
        async with asyncio.timeout(30):
            for n in range(3):
                await rig.feed(trip(n))
                while max([0, *(one.trips for one in await list_models(rig.conn, TENANT))]) <= n:
                    assert not training.done()
    finally:
        training.cancel()


async def test_a_fault_in_learning_ends_nothing_else(
    rig: Rig, database_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    await rig.feed(trip(0))
    monitor = Training(load_settings(database_url=database_url))
    with monkeypatch.context() as patch:
        patch.setattr("ingest.training.learn", fail)
        await monitor.turn(rig.conn)
    assert "training default" in caplog.text
    await monitor.turn(rig.conn)
    assert [one.trips for one in await list_models(rig.conn, TENANT)] == [1]


async def test_the_last_ten_versions_are_kept_and_the_one_that_is_pinned(rig: Rig) -> None:
    engine, line = Engine().save(), await line_of(rig.conn, TENANT)
    for _ in range(2):
        await save_version(rig.conn, TENANT, line, engine, made_by="train")
    await pin_version(rig.conn, TENANT, 1)
    for _ in range(12):
        await save_version(rig.conn, TENANT, line, engine, made_by="train")
    models = await list_models(rig.conn, TENANT)
    assert [one.version for one in models] == [*range(14, 4, -1), 1]
    assert [one.version for one in models if one.used] == [1]
    found = await latest_engine(rig.conn, TENANT, 14)
    assert found is not None
    assert found[0] == 1
    with pytest.raises(InputError, match="no version 2"):
        await pin_version(rig.conn, TENANT, 2)
    # A mistake changes nothing.
    assert await latest_engine(rig.conn, TENANT, 1) is None
    await pin_version(rig.conn, TENANT, None)
    assert (await latest_engine(rig.conn, TENANT, 1) or (0,))[0] == 14


async def test_what_cannot_be_read_is_said_and_a_newer_program_s_version_is_passed_by(
    rig: Rig, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await rig.feed(trip(0))
    await trained(rig.conn)
    line = await line_of(rig.conn, TENANT)
    await save_version(rig.conn, TENANT, line, b"rubbish", made_by="train")
    assert await latest_engine(rig.conn, TENANT, 1) is None
    assert "from-scratch" in caplog.text
    with pytest.raises(ModelUnreadable, match="from-scratch"):
        await trained(rig.conn)
    await rig.rows("UPDATE eta_model SET format = 99 WHERE version = 2 RETURNING 1")
    assert (await latest_engine(rig.conn, TENANT, 0) or (0,))[0] == 1
    await Training(load_settings(database_url=database_url, eta_train_every_s=1e-3)).turn(rig.conn)
    assert len(await list_models(rig.conn, TENANT)) == 2


async def test_what_was_learned_of_an_erased_device_is_forgotten(
    rig: Rig, database_url: str
) -> None:
    for n in range(3):
        await rig.feed(trip(n))
    await trained(rig.conn)
    await pin_version(rig.conn, TENANT, 1)
    assert await erase_device(rig.conn, TENANT, "van-1", "the test")
    while await erase_some(rig.conn, settled_after=timedelta(0)):
        pass
    await Training(load_settings(database_url=database_url, eta_train_every_s=1e-3)).turn(rig.conn)
    # The one that knew it is gone although it was pinned, and nobody drove.
    [model] = await list_models(rig.conn, TENANT)
    assert (model.version, model.trips, model.used) == (2, 2, True)
    await trained(rig.conn, from_scratch=True)
    assert await saved(rig, 2) == await saved(rig, 3)
    assert (await trained(rig.conn)).version is None


def scheduled(id_: str) -> Plan:
    """From the depot to the shop by a timetable."""
    stops = tuple(
        msgspec.structs.replace(
            stop, window=PlannedWindow(from_us(START_US + at_s * 1_000_000)), service_s=120.0
        )
        for stop, at_s in zip(PLAN.stops, (200, 1_820), strict=True)
    )
    return msgspec.structs.replace(PLAN, id=id_, stops=stops, timetable=True)


async def test_legs_of_shipments_are_learned_and_forecasts_of_them_scored(
    database_url: str,
) -> None:
    async with Office(database_url) as office:
        await office.feed([pos("gps", -600, 4.9, 0.0)])
        await office.asset("truck")
        await office.attach("device/gps", "asset/truck")
        for id_ in ("s1", "s2"):
            await office.plan(scheduled(id_))
            await office.attach(f"shipment/{id_}", "asset/truck")
        await office.settle()
        for message in drive("gps", end=180):
            await office.feed([message])
            await office.settle()
        # Made while it was under way; another when it still stood at the depot.
        await office.rows(
            "INSERT INTO eta_forecast (tenant_id, shipment_number, stop, made_at, p10_at, p50_at, "
            "p90_at, prior_at, legs, lane, local_hour, path, model) "
            "SELECT tenant_id, number, 1, at, at, at + interval '15 min', at, at, 1, '', 0, "
            "'detour', 0 FROM shipment, unnest(%s::timestamptz[]) at RETURNING 1",
            [[f"2023-11-14 22:{minute}:00+00" for minute in (14, 20, 22, 24)]],
        )
        driven = await driven_after(office.conn, TENANT, 0, 1_000_000, 100)
        legs = [one for one in driven.lessons if one.lane and len(one.lane) == 2]
        assert [one.planned_s for one in legs] == [1_500.0, 1_500.0]
        done = await trained(office.conn)
        # Two shipments in one truck are one drive.
        assert (done.learned.legs, done.learned.left_out[Unfit.KNOWN]) == (1, 1)
        assert done.learned.scored == 3
        found = await latest_engine(office.conn, TENANT, 0)
        assert found is not None
        lane = ("Depot 0.000,5.000", "Shop 0.000,5.100")
        leg = Leg((5.0, 0.0), (5.1, 0.0), 11_000.0)
        lanes = [found[1].forecast(leg._replace(lane=one), START_S) for one in (lane, None)]
        assert lanes[0].trips > lanes[1].trips


def training(database_url: str, tmp_path: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "waymark", "eta", "train"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={
            **os.environ,
            "WAYMARK_DATABASE_URL": database_url,
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
    )


async def test_a_training_that_is_killed_loses_nothing(
    rig: Rig, database_url: str, tmp_path: Path
) -> None:
    for n in range(4):
        await rig.feed(trip(n))
    async with rig.conn.transaction():
        # It learns all there is, and then cannot save.
        await rig.conn.execute("LOCK TABLE eta_model IN SHARE MODE")
        with training(database_url, tmp_path) as process:
            async with asyncio.timeout(60):
                while not await rig.rows("SELECT FROM pg_locks WHERE NOT granted"):
                    assert process.poll() is None, process.communicate()
                    await asyncio.sleep(0.01)
            process.send_signal(signal.SIGKILL)
    done = None
    async with asyncio.timeout(60):
        # The server has yet to notice that nobody is there any more.
        while done is None:
            done = await train(rig.conn, TENANT, "train")
    assert (done.version, done.learned.trips) == (1, 4)
    await trained(rig.conn, from_scratch=True)
    assert await saved(rig, 1) == await saved(rig, 2)


async def test_the_commands_say_what_was_learned_and_choose_a_version(
    rig: Rig, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYMARK_DATABASE_URL", database_url)

    async def said(*arguments: str) -> Result:
        return await asyncio.to_thread(lambda: CliRunner().invoke(eta_app, arguments))

    assert (await said("train")).stdout.startswith("nothing to learn")
    assert (await said("models")).stdout.startswith("nothing was learned yet")
    await rig.feed(trip(0), trip(1))
    document = json.loads((await said("train", "--json")).stdout)
    assert (document["version"], document["trips"], document["left_out"]) == (1, 2, {})
    assert document["merits"][0]["forecasts"] == 2
    again = await said("train")
    assert again.stdout == "nothing to learn: no trip or leg has ended since\n"
    assert "version 1" in (await said("use", "1")).stdout
    [model] = json.loads((await said("models", "--json")).stdout)
    assert (model["version"], model["pinned"], model["used"]) == (1, True, True)
    assert "pinned" in (await said("models")).stdout
    for wrong in ("7", "best"):
        refused = await said("use", wrong)
        assert isinstance(refused.exception, InputError)
        assert "waymark eta models" in str(refused.exception)
    assert "latest" in (await said("use", "latest")).stdout
