"""Shipments that leave their route, turn round, stand still and are overdue, on a real database."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
import pytest

from ingest import routes
from ingest.mqtt import Message
from ingest.repair import FencesBehind
from ingest.shipments import turn
from tests.integration.ingest_rig import START_US, pos
from tests.integration.test_shipments import PLAN, STEP_DEG, STEP_S, Office, ref
from tracking.custody import Claim
from tracking.route.polyline import encode
from tracking.shipments import LINE_DIGITS, Limits, Plan, PlannedWindow, Route
from tracking.store.attachments import attach, detach
from tracking.store.connection import Connection, connect
from tracking.store.erasures import erase_device
from tracking.store.shipment_edits import edit_shipment
from tracking.times import from_us

ROUTE = Route(encode([(5.0, 0.0), (5.05, 0.0), (5.1, 0.0)], LINE_DIGITS))
ROUTED = msgspec.structs.replace(PLAN, route=ROUTE)

Place = tuple[float, float]  # steps east of the depot, steps north
DEPOT_STOP: list[Place] = [*((float(i), 0.0) for i in range(-20, 0)), *[(0.0, 0.0)] * 12]
STRAIGHT: list[Place] = [(float(i), 0.0) for i in range(100)]
SHOP_STOP: list[Place] = [*[(100.0, 0.0)] * 12, *((100.0 + i, 0.0) for i in range(30))]
WRONG_TURN: list[Place] = [
    *STRAIGHT[:40], *((40.0, float(i)) for i in range(1, 9)), *((40.0, 8.0 - i) for i in range(8)),
    *STRAIGHT[40:],
]  # fmt: skip
TURNED: list[Place] = [
    *STRAIGHT[:60], *((60.0 - i, 0.0) for i in range(1, 16)), *STRAIGHT[46:],
]  # fmt: skip
STOOD: list[Place] = [*STRAIGHT[:50], *[(50.0, 0.0)] * 250, *STRAIGHT[50:]]


def drive(
    way: Sequence[Place], device: str = "gps", start: int = 0, end: int | None = None
) -> list[Message]:
    """Depot, way and shop, a fix each 10 s; those numbered from `start` until before `end`."""
    places = [*DEPOT_STOP, *way, *SHOP_STOP]
    messages = [
        pos(device, STEP_S * i, 5.0 + STEP_DEG * east, STEP_DEG * north,
            speed_mps=0.0 if i and places[i] == places[i - 1] else 11.0, accuracy_m=8.0)
        for i, (east, north) in enumerate(places)
    ]  # fmt: skip
    return messages[start:end]


def at(step: int) -> Any:  # noqa: ANN401 -- datetime
    """The moment of a step of the way behind the depot."""
    return from_us(START_US) + timedelta(seconds=STEP_S * (len(DEPOT_STOP) + step))


class RoadOffice(Office):
    """The office, and the follower of routes, who does not wait between two looks."""

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url)
        self.guides = routes.Guides()

    async def settle(self) -> None:
        """Fold, repair, follow and derive until nothing waits."""
        for _ in range(20):
            await super().settle()
            await self.conn.execute("UPDATE shipment_route SET next_at = now()")
            looked, failed = await routes.turn(self.conn, self.guides)
            assert not failed
            if not looked:
                return
        raise AssertionError("it never comes to rest")

    async def events(self, kind: str = "route") -> list[tuple[Any, ...]]:
        """(type, time) of what holds of a kind."""
        return await self.rows(
            "SELECT type, time FROM event WHERE type LIKE %s || '%%' AND status = 'active' "
            "AND subject = 'shipment/s1' ORDER BY time",
            [kind],
        )

    async def troubles(self) -> set[str]:
        return set((await self.shipment()).record.exceptions)


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[RoadOffice]:
    async with RoadOffice(database_url) as office:
        await office.feed([pos("gps", -600, 4.9, 0.0), pos("new", -600, 4.9, 0.0)])
        await office.asset("truck")
        yield office


async def carried(office: RoadOffice, plan: Plan = ROUTED) -> None:
    await office.plan(plan)
    await office.attach("shipment/s1", "device/gps")
    await office.settle()


async def test_a_wrong_turn_is_told_at_once_and_ends_when_it_is_back(office: RoadOffice) -> None:
    await carried(office)
    await office.feed(drive(WRONG_TURN, end=len(DEPOT_STOP) + 46))
    await office.settle()
    assert await office.troubles() == {"off_route"}
    assert await office.events() == [("route.deviated", at(41))]
    shown = (await office.shipment()).progress
    assert shown is not None
    assert (shown.off_route, round(shown.offset_m), shown.as_of) == (True, 663, at(45))
    assert shown.progress_m == pytest.approx(40 * 111.32, abs=1)
    # What another version kept of it is not misread: it begins anew.
    await office.conn.execute("UPDATE shipment_route SET course = 'another'")
    await office.feed(drive(WRONG_TURN, start=len(DEPOT_STOP) + 46))
    await office.settle()
    assert await office.troubles() == set()
    assert await office.events() == [("route.deviated", at(41)), ("route.rejoined", at(56))]
    [(data,)] = await office.rows("SELECT data FROM event WHERE type = 'route.deviated'")
    assert (data["shipment"], data["device"]) == ("s1", "gps")
    assert [round(fix["offset_m"]) for fix in data["fixes"]] == [221, 332, 442]
    assert (await office.shipment()).record.status == "delivered"
    assert await office.rows("SELECT open FROM shipment_route") == [(False,)]


async def test_the_opposite_direction_is_told_until_it_turns_again(office: RoadOffice) -> None:
    await carried(office)
    await office.feed(drive(TURNED, end=len(DEPOT_STOP) + 70))
    await office.settle()
    assert await office.troubles() == {"opposite_direction"}
    await office.feed(drive(TURNED, start=len(DEPOT_STOP) + 70))
    await office.settle()
    assert await office.events() == [("route.reversed", at(61)), ("route.resumed", at(75))]
    assert await office.troubles() == set()


async def test_standing_still_is_told_after_a_while_and_ends_with_moving(
    office: RoadOffice,
) -> None:
    await carried(office, msgspec.structs.replace(ROUTED, limits=Limits(stalled_after_s=1_800)))
    stood = len(DEPOT_STOP) + 50
    await office.feed(drive(STOOD, end=stood + 5))
    await office.settle()
    assert await office.rows("SELECT due_at FROM shipment") == [(None,)]
    await office.feed(drive(STOOD, start=stood + 5, end=stood + 100))
    await office.settle()
    # It has been seen there for a quarter of an hour, and since then nobody knows.
    assert await office.events("shipment.stalled") == []
    assert await office.troubles() == set()
    [(due,)] = await office.rows("SELECT due_at > now() FROM shipment")
    assert due
    await office.feed(drive(STOOD, start=stood + 100, end=stood + 200))
    # A fix that changes nothing wakes nobody; the deadline that was set does.
    await office.conn.execute("UPDATE shipment SET due_at = now()")
    await office.settle()
    assert await office.troubles() == {"stalled"}
    stalled = ("shipment.stalled", at(50) + timedelta(seconds=1_800))
    assert await office.events("shipment.stalled") == [stalled]
    await office.feed(drive(STOOD, start=stood + 200))
    await office.settle()
    assert await office.events("shipment.stalled") == [stalled]
    assert [type_ for type_, _ in await office.events("shipment.moving")] == ["shipment.moving"]
    assert await office.troubles() == set()


async def test_a_gap_in_the_fixes_is_no_standing_still(office: RoadOffice) -> None:
    await carried(office, msgspec.structs.replace(ROUTED, limits=Limits(stalled_after_s=1_800)))
    # Where it is seen again after an hour is where it was seen last.
    way = drive(STOOD)
    last = len(DEPOT_STOP) + 50
    await office.feed(way[: last + 1] + way[last + 249 :])
    await office.settle()
    stopped = "SELECT data ->> 'reason' FROM event WHERE type = 'motion.stopped' AND time = %s"
    assert await office.rows(stopped, [at(50)]) == [("gap",)]
    assert await office.events("shipment.stalled") == []
    assert await office.events() == []


async def test_overdue_is_told_exactly_once_by_two_monitors_and_after_a_restart(
    office: RoadOffice, database_url: str
) -> None:
    [(soon,)] = await office.rows("SELECT clock_timestamp() + interval '300 ms'")
    stop = msgspec.structs.replace(PLAN.stops[1], window=PlannedWindow(None, soon))
    plan = msgspec.structs.replace(
        PLAN, stops=(PLAN.stops[0], stop), limits=Limits(overdue_after_s=0.2)
    )
    await office.plan(plan)
    told: list[str] = []
    async with (
        await connect(database_url, name="monitor") as one,
        await connect(database_url, name="monitor") as other,
    ):
        while "shipment.overdue" not in told:
            for monitor in (one, other):
                done = await turn(monitor)
                told += [] if done is None else [record.type for record in done.records]
    async with await connect(database_url, name="monitor") as restarted:
        await restarted.execute("UPDATE shipment SET dirty = true")
        while (done := await turn(restarted)) is not None:
            told += [record.type for record in done.records]
    assert sorted(told) == ["shipment.delayed", "shipment.overdue"]
    assert await office.troubles() == {"delayed", "overdue"}
    due = soon + timedelta(milliseconds=200)
    assert await office.events("shipment.overdue") == [("shipment.overdue", due)]


async def test_late_fixes_take_back_what_they_show_not_to_have_been(office: RoadOffice) -> None:
    await carried(office, msgspec.structs.replace(ROUTED, limits=Limits(stalled_after_s=600)))
    way = drive(STOOD)
    began = len(DEPOT_STOP) + 50
    kept = [i for i in range(len(way)) if not began < i < began + 250 or (i - began) % 10 == 0]
    # Off the way for a moment, and then seen every 100 s where it stands.
    wrong = [
        pos("gps", STEP_S * (len(DEPOT_STOP) + 20 + i), 5.02, STEP_DEG * (2 + i), speed_mps=11.0)
        for i in range(5)
    ]
    hidden = range(len(DEPOT_STOP) + 20, len(DEPOT_STOP) + 40)
    await office.feed([way[i] for i in kept if i < hidden.start] + wrong)
    await office.feed([way[i] for i in kept if i >= hidden.stop])
    await office.settle()
    before = await office.events()
    assert [type_ for type_, _ in before] == ["route.deviated", "route.rejoined"]
    assert [kind for kind, _ in await office.events("shipment.stalled")] == ["shipment.stalled"]
    # It had moved in between after all, half a kilometre to and fro.
    to_and_fro = [
        pos("gps", STEP_S * (began + i), 5.05, STEP_DEG * (5 - abs(5 - i % 10)), speed_mps=11.0)
        for i in range(1, 250)
        if i % 10
    ]
    await office.feed(to_and_fro)
    await office.settle()
    assert await office.events("shipment.stalled") == []
    after = await office.events()
    assert after[: len(before)] == before
    assert after[len(before)][0] == "route.deviated"
    gone = await office.rows("SELECT type FROM event WHERE status = 'retracted' ORDER BY type")
    assert ("shipment.stalled",) in gone
    assert ("shipment.moving",) in gone


async def test_another_line_and_another_truck_are_followed_from_the_beginning(
    office: RoadOffice,
) -> None:
    await office.plan(ROUTED)
    held = await office.attach("shipment/s1", "device/gps")
    await office.settle()
    await office.feed(drive(WRONG_TURN, end=len(DEPOT_STOP) + 46))
    await office.settle()
    assert await office.troubles() == {"off_route"}
    line = encode([(5.0, 0.0), (5.04, 0.0), (5.04, 0.02)], LINE_DIGITS)

    def along(plan: Plan) -> Plan:
        return msgspec.structs.replace(plan, route=Route(line))

    await edit_shipment(office.conn, office.tenant, "s1", along, author="test")
    await office.settle()
    assert (await office.troubles(), await office.events()) == (set(), [])
    await detach(office.conn, office.tenant.id, held, author="test")
    await office.settle()
    assert (await office.shipment()).progress is None
    await office.attach("shipment/s1", "device/gps")
    await office.settle()
    assert (await office.shipment()).progress is not None
    await erase_device(office.conn, office.tenant.id, "gps", "ann")
    assert await office.rows("SELECT * FROM shipment_route") == []


@pytest.mark.parametrize("seed", range(3))
async def test_any_order_of_messages_ends_in_the_same_troubles(
    database_url: str, seed: int
) -> None:
    """A wrong turn before a device is swapped and turning round behind it, known in any order."""
    rng = random.Random(seed)
    way = [*WRONG_TURN[:70], *((54.0 - i, 0.0) for i in range(1, 11)), *STRAIGHT[44:]]
    swap = len(DEPOT_STOP) + 60
    messages = drive(way, "gps", end=swap) + drive(way, "new", start=swap)
    async with RoadOffice(database_url) as office:
        await office.feed([pos("gps", -600, 4.9, 0.0), pos("new", -600, 4.9, 0.0)])
        await office.asset("truck")
        await office.attach("device/gps", "asset/truck", 0, swap * STEP_S)
        await office.attach("device/new", "asset/truck", swap * STEP_S)
        await carried_by_truck(office)
        if seed == 1:  # the second device is not silent, the first one tells all of it later
            messages = messages[:swap][:40] + messages[swap:] + messages[40:swap]
        elif seed:
            rng.shuffle(messages)
        for i in range(0, len(messages), 40):
            await office.feed(messages[i : i + 40])
            if rng.random() < 0.6:
                await office.settle()
        await office.settle()
        assert await office.events() == [
            ("route.deviated", at(41)), ("route.rejoined", at(56)),
            ("route.reversed", at(71)), ("route.resumed", at(81)),
        ]  # fmt: skip
        assert (await office.shipment()).record.status == "delivered"
        shown = (await office.shipment()).progress
        assert shown is not None
        assert shown.progress_m == pytest.approx(100 * 111.32, abs=15)


async def edit(office: RoadOffice, database_url: str, ids: Sequence[str]) -> None:
    """Load shipments on the truck, and change the route of each to and fro."""
    wider = msgspec.structs.replace(ROUTE, detect_m=400.0)
    async with await connect(database_url, name="editor") as conn:
        for id_ in ids:
            claim = Claim(ref(f"shipment/{id_}"), ref("asset/truck"), START_US)
            await attach(conn, office.tenant.id, claim, author="test")
            for route in (wider, ROUTE):
                change = partial(msgspec.structs.replace, route=route)
                await edit_shipment(conn, office.tenant, id_, change, author="test")


async def test_followers_repairs_and_editors_at_once_end_in_the_same(
    office: RoadOffice, database_url: str
) -> None:
    ids = [f"s{n}" for n in range(1, 7)]
    for id_ in ids:
        await office.plan(msgspec.structs.replace(ROUTED, id=id_))
    await office.attach("device/gps", "asset/truck")
    way = drive(WRONG_TURN)
    random.Random(5).shuffle(way)
    over = asyncio.Event()

    async def follow(work: Callable[[Connection], Awaitable[Any]]) -> None:
        async with await connect(database_url, name="follower") as conn:
            while not over.is_set():
                await work(conn)
                # Of those nobody has in hand: in no order it would wait for ever.
                await conn.execute(
                    "UPDATE shipment_route SET next_at = now() WHERE shipment_number IN "
                    "(SELECT shipment_number FROM shipment_route FOR UPDATE SKIP LOCKED)"
                )

    async def follow_routes() -> None:
        guides = routes.Guides()
        await follow(lambda conn: routes.turn(conn, guides))

    async def drive_and_repair() -> None:
        for i in range(0, len(way), 25):
            await office.feed(way[i : i + 25])
            await office.fences.refresh(office.conn)
            # A fence was made meanwhile: the next round repairs.
            with suppress(FencesBehind):
                await office.repair()

    async def work() -> None:
        await asyncio.gather(drive_and_repair(), edit(office, database_url, ids))
        over.set()

    await asyncio.gather(follow(turn), follow(turn), follow_routes(), follow_routes(), work())
    await office.settle()
    told = await office.rows(
        "SELECT subject, type, time FROM event WHERE type LIKE 'route.%%' AND status = 'active' "
        "ORDER BY subject, time"
    )
    changes = [("route.deviated", at(41)), ("route.rejoined", at(56))]
    assert told == [(f"shipment/{id_}", *change) for id_ in ids for change in changes]


async def carried_by_truck(office: RoadOffice) -> None:
    await office.plan(ROUTED)
    await office.attach("shipment/s1", "asset/truck")
    await office.settle()
