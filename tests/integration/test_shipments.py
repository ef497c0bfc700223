"""Shipments on a real database, kept by the fixes of whatever carries them."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any, Self

import msgspec
import pytest

from ingest.mqtt import Message
from ingest.shipments import turn
from tests.integration.ingest_rig import START_US, Rig, draft, pos
from tracking.custody import FOR_EVER_US, Claim, Ref
from tracking.shipments import Override, Parties, Place, Plan, PlannedWindow, Stop
from tracking.store.alerts import Tenant
from tracking.store.assets import AssetEdit, create_asset
from tracking.store.attachments import attach, detach, reattach
from tracking.store.connection import connect
from tracking.store.custody import devices_of_shipments
from tracking.store.erasures import erase_device, erase_some
from tracking.store.shipment_edits import Edited, create_shipment, edit_shipment, say, unsay
from tracking.store.shipments import StoredShipment, get_shipment
from tracking.times import from_us

# Along the equator a thousandth of a degree is 111 m.
STEP_DEG = 0.001
STEP_S = 10
DEPOT, SHOP = Place(5.0, 0.0, 150), Place(5.1, 0.0, 150)
PLAN = Plan("s1", (Stop("pickup", "Depot", DEPOT), Stop("delivery", "Shop", SHOP)), "o1")


def drive(device: str, start: int = 0, end: int = 150) -> list[Message]:
    """From 2 km before the depot to 3 km behind the shop, a fix each 10 s; both are stops of 2 min.

    Steps are counted from the depot's approach; 20 is at the depot and 132 at the shop.
    """
    route = [4.98 + STEP_DEG * i for i in range(20)] + [5.0] * 12
    route += [5.0 + STEP_DEG * i for i in range(100)] + [5.1] * 12
    route += [5.1 + STEP_DEG * i for i in range(30)]
    return [
        pos(device, STEP_S * i, route[i], 0.0, speed_mps=0.0 if route[i] in {5.0, 5.1} else 11.0)
        for i in range(start, min(end, len(route)))
    ]


def ref(text: str) -> Ref:
    kind, _, id_ = text.partition("/")
    return Ref(kind, id_)  # type: ignore[arg-type]


class Office(Rig):
    """The rig of ingest, and whoever plans shipments and attaches them."""

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        [(id_,)] = await self.rows("SELECT id FROM tenant WHERE name = 'default'")
        self.tenant = Tenant("default", id_)
        return self

    async def plan(self, plan: Plan = PLAN) -> None:
        assert await create_shipment(self.conn, self.tenant, plan, author="test")

    async def asset(self, *ids: str) -> None:
        for id_ in ids:
            await create_asset(
                self.conn, self.tenant.id, id_, AssetEdit("vehicle", id_), author="test"
            )

    async def attach(
        self, load: str, carrier: str, start_s: float = 0, end_s: float | None = None
    ) -> int:
        to_us = FOR_EVER_US if end_s is None else START_US + round(end_s * 1e6)
        claim = Claim(ref(load), ref(carrier), START_US + round(start_s * 1e6), to_us)
        return (await attach(self.conn, self.tenant.id, claim, author="test")).view.id

    async def settle(self) -> None:
        """Fold, repair and derive until nothing waits."""
        for _ in range(20):
            turns = 0
            while await turn(self.conn):
                turns += 1
                assert turns < 100, "the follower never comes to rest"
            await self.fences.refresh(self.conn)
            if not await self.repair() and turns == 0:
                return
        raise AssertionError("it never comes to rest")

    async def shipment(self, id_: str = "s1") -> StoredShipment:
        found = await get_shipment(self.conn, self.tenant.id, id_)
        assert found is not None
        return found

    async def statuses(self, id_: str = "s1") -> list[str]:
        rows = await self.rows(
            "SELECT data ->> 'to' FROM event WHERE subject = %s AND status = 'active' "
            "AND type = 'shipment.status_changed' AND data ->> 'from' IS NOT NULL "
            "ORDER BY time, cursor",
            [f"shipment/{id_}"],
        )
        return [row[0] for row in rows]

    async def told(self) -> list[tuple[Any, ...]]:
        """Every event about shipments that holds, but for the moment of planning, which is ours."""
        return await self.rows(
            "SELECT id, type, time, rule, data - 'cause' FROM event WHERE status = 'active' "
            "AND (type LIKE 'stop.%%' OR type LIKE 'shipment.%%') "
            "AND coalesce(data ->> 'to', '') <> 'planned' ORDER BY id"
        )


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Office]:
    async with Office(database_url) as office:
        await office.feed([pos("gps", -600, 4.9, 0.0), pos("other", -600, 4.9, 0.0)])
        await office.asset("truck", "pallet")
        yield office


async def test_a_shipment_goes_through_every_status_with_no_manual_call(office: Office) -> None:
    await office.plan()
    await office.attach("device/gps", "asset/truck")
    await office.attach("asset/pallet", "asset/truck")
    await office.attach("shipment/s1", "asset/pallet")
    await office.settle()
    for message in drive("gps", end=180):
        await office.feed([message])
        await office.settle()
    assert await office.statuses() == [
        "at_stop", "picked_up", "in_transit", "arriving", "at_stop", "delivered",
    ]  # fmt: skip
    stored = await office.shipment()
    depot, shop = stored.record.stops
    moments = [depot.arrived_at, depot.departed_at, shop.arrived_at, shop.departed_at]
    assert moments == sorted(m for m in moments if m is not None)
    assert stored.record.delivered_at == shop.departed_at
    # Nobody watches it any more, and no other device ever did.
    assert await office.rows("SELECT id FROM fence WHERE deleted_at IS NULL") == []


async def test_other_devices_raise_nothing_at_its_stops(office: Office) -> None:
    await office.plan()
    await office.attach("shipment/s1", "device/gps")
    await office.settle()
    await office.feed(drive("other", end=180))
    await office.settle()
    assert await office.rows("SELECT id FROM event WHERE type LIKE 'fence.%%'") == []
    assert (await office.shipment()).record.status == "planned"


@pytest.mark.parametrize("seed", range(4))
async def test_any_order_of_messages_and_edits_ends_in_the_same_record(
    database_url: str, seed: int
) -> None:
    """A device swap on the way, all of it known late and in any order."""
    rng = random.Random(seed)
    async with Office(database_url) as office:
        await office.feed([pos("gps", -600, 4.9, 0.0), pos("new", -600, 4.9, 0.0)])
        await office.asset("truck")
        swap_s = 80 * STEP_S
        acts: list[Any] = [
            office.attach("device/gps", "asset/truck", 0, swap_s),
            office.attach("device/new", "asset/truck", swap_s),
            office.attach("shipment/s1", "asset/truck"),
        ]
        messages = drive("gps", end=80) + drive("new", 80, 180)
        await office.plan()
        if seed:
            rng.shuffle(messages)
            rng.shuffle(acts)
        chunks = [messages[i : i + 30] for i in range(0, len(messages), 30)]
        for i, chunk in enumerate(chunks):
            if i % 2 == 0 and acts:
                await acts.pop()
            await office.feed(chunk)
            if rng.random() < 0.5:
                await office.settle()
        for act in acts:
            await act
        await office.settle()
        stored = await office.shipment()
        assert [t.replace(microsecond=0) for s in stored.record.stops for t in _times(s)] == [
            from_us(START_US) + timedelta(seconds=second) for second in _EXPECTED_S
        ]
        assert await office.statuses() == [
            "at_stop", "picked_up", "in_transit", "arriving", "at_stop", "delivered",
        ]  # fmt: skip


def _times(stop: Any) -> Sequence[Any]:  # noqa: ANN401 -- StopRecord
    return stop.arrived_at, stop.departed_at


# Of every order: arrived at and left the depot, arrived at and left the shop.
_EXPECTED_S = [190, 340, 1310, 1460]


async def test_an_attachment_that_never_was_takes_everything_back(office: Office) -> None:
    await office.plan()
    await office.attach("device/gps", "asset/truck")
    wrong = await office.attach("shipment/s1", "asset/truck")
    await office.feed(drive("gps", end=180))
    await office.settle()
    assert (await office.shipment()).record.status == "delivered"
    await detach(office.conn, office.tenant.id, wrong, author="test")
    await office.settle()
    assert (await office.shipment()).record.status == "planned"
    assert await office.told() == []
    retracted = await office.rows(
        "SELECT count(*) FROM event WHERE status = 'retracted' AND type LIKE 'stop.%%'"
    )
    assert retracted == [(4,)]
    again = await office.attach("shipment/s1", "asset/truck")
    await office.settle()
    assert (await office.shipment()).record.status == "delivered"
    await detach(office.conn, office.tenant.id, again, author="test")
    # It was on it after all, though only from behind the depot on.
    await office.attach("shipment/s1", "asset/truck", 60 * STEP_S)
    await office.settle()
    assert (await office.shipment()).record.status == "planned"
    await say(
        office.conn, office.tenant, "s1",
        Override(0, "departed", from_us(START_US + 300 * 1_000_000), 0, made_by="ann"),
    )  # fmt: skip
    await office.settle()
    assert (await office.shipment()).record.status == "in_transit"


async def test_unloading_ends_the_voyage_and_a_correction_takes_it_up_again(
    office: Office,
) -> None:
    await office.plan()
    await office.attach("device/gps", "asset/truck")
    on = await office.attach("shipment/s1", "asset/truck", 0, 138 * STEP_S)
    await office.feed(drive("gps", end=150))
    await office.settle()
    stored = await office.shipment()
    assert stored.record.delivered_at == from_us(START_US + 138 * STEP_S * 1_000_000)
    await reattach(office.conn, office.tenant.id, on, (None, None, True), author="test")
    await office.settle()
    assert (await office.shipment()).record.status == "delivered"
    assert (await office.shipment()).record.delivered_at != stored.record.delivered_at


async def test_a_stop_in_a_fence_of_the_tenants_own(office: Office) -> None:
    await office.save(draft("yard", {"type": "Circle", "center": [5.0, 0.0], "radius_m": 300}))
    stops = (Stop("pickup", "Yard", fence="yard"), PLAN.stops[1])
    await office.plan(msgspec.structs.replace(PLAN, stops=stops))
    await office.attach("shipment/s1", "device/gps")
    await office.settle()
    # Everybody else comes and goes there as well.
    await office.feed(drive("other", end=60), drive("gps", end=180))
    await office.settle()
    assert await office.statuses() == [
        "at_stop", "picked_up", "in_transit", "arriving", "at_stop", "delivered",
    ]  # fmt: skip


async def test_what_somebody_says_counts_until_it_is_withdrawn(office: Office) -> None:
    await office.plan()
    await office.attach("shipment/s1", "device/gps")
    await office.feed(drive("gps", end=60))
    await office.settle()
    said = Override(0, "cancelled", from_us(START_US + 900 * 1_000_000), made_by="ann")
    done = await say(office.conn, office.tenant, "s1", said)
    assert isinstance(done, Edited)
    assert done.shipment.record.status == "cancelled"
    overridden = [(r.type, r.data["by"]) for r in done.records if r.type.endswith("overridden")]
    assert overridden == [("shipment.overridden", "ann")]
    [(id_,)] = await office.rows("SELECT id FROM shipment_override")
    undone = await unsay(office.conn, office.tenant, "s1", id_, author="bob")
    assert undone is not None
    assert undone.shipment.record.status == "in_transit"
    await office.settle()
    await office.feed(drive("gps", 60, 180))
    await office.settle()
    assert (await office.shipment()).record.status == "delivered"


async def test_a_window_that_passes_raises_one_event_and_a_later_plan_takes_it_back(
    office: Office,
) -> None:
    past, ahead = from_us(START_US), from_us(START_US) + timedelta(days=36_000)
    stop = msgspec.structs.replace(PLAN.stops[1], window=PlannedWindow(None, past))
    await office.plan(msgspec.structs.replace(PLAN, stops=(PLAN.stops[0], stop)))
    for _ in range(3):
        await office.settle()
    delayed = "SELECT status, revision, time FROM event WHERE type = 'shipment.delayed'"
    assert await office.rows(delayed) == [("active", 1, past)]
    assert (await office.shipment()).record.exceptions == ("delayed", "overdue")
    later = msgspec.structs.replace(stop, window=PlannedWindow(None, ahead))
    await edit_shipment(
        office.conn, office.tenant, "s1",
        lambda plan: msgspec.structs.replace(plan, stops=(plan.stops[0], later)), author="test",
    )  # fmt: skip
    assert [row[:2] for row in await office.rows(delayed)] == [("retracted", 2)]


async def test_a_deadline_is_found_by_the_monitor(office: Office) -> None:
    [(soon,)] = await office.rows("SELECT clock_timestamp() + interval '300 ms'")
    stop = msgspec.structs.replace(PLAN.stops[1], window=PlannedWindow(None, soon))
    await office.plan(msgspec.structs.replace(PLAN, stops=(PLAN.stops[0], stop)))
    while await turn(office.conn):
        pass
    [(due,)] = await office.rows("SELECT due_at FROM shipment")
    assert due == soon
    done = None
    while done is None or not done.records:
        done = await turn(office.conn)
    assert [record.type for record in done.records] == ["shipment.delayed"]
    assert await office.rows("SELECT due_at FROM shipment") == [(soon + timedelta(hours=1),)]


async def test_a_stop_that_is_moved_was_not_reached_where_it_was(office: Office) -> None:
    await office.plan()
    await office.attach("shipment/s1", "device/gps")
    await office.settle()
    await office.feed(drive("gps", end=140))
    await office.settle()
    assert (await office.shipment()).record.stops[1].arrived_at is not None

    def moved(plan: Plan) -> Plan:
        stop = msgspec.structs.replace(plan.stops[1], place=Place(5.115, 0.0, 150))
        return msgspec.structs.replace(plan, stops=(plan.stops[0], stop))

    await edit_shipment(office.conn, office.tenant, "s1", moved, author="test")
    await office.settle()
    stored = await office.shipment()
    assert (stored.record.stops[1].arrived_at, stored.record.status) == (None, "arriving")
    await office.feed(drive("gps", 140, 180))
    await office.settle()
    assert (await office.shipment()).record.stops[1].arrived_at is not None


async def test_what_tells_where_a_device_was_goes_when_it_is_erased(office: Office) -> None:
    await office.plan()
    await office.attach("shipment/s1", "device/gps")
    await office.feed(drive("gps", end=180))
    await office.settle()
    assert await erase_device(office.conn, office.tenant.id, "gps", "ann")
    while await erase_some(office.conn, settled_after=timedelta(0)):
        pass
    await office.settle()
    left = await office.rows("SELECT type, data ->> 'device' FROM event")
    assert left == [("shipment.status_changed", None)]
    # When it was where stays known of the shipment itself.
    assert (await office.shipment()).record.status == "delivered"
    assert await office.rows("SELECT count(*) FROM attachment") == [(0,)]


async def test_two_followers_and_an_editor_at_once_lose_nothing(
    office: Office, database_url: str
) -> None:
    for n in range(12):
        await office.plan(msgspec.structs.replace(PLAN, id=f"s{n}"))
    await office.attach("device/gps", "asset/truck")
    stop = asyncio.Event()

    async def follow() -> None:
        async with await connect(database_url, name="follower") as conn:
            while not stop.is_set():
                await turn(conn)

    async def load() -> None:
        for n in range(12):
            await office.attach(f"shipment/s{n}", "asset/truck")
        stop.set()

    await asyncio.gather(follow(), follow(), load())
    await office.settle()
    await office.feed(drive("gps", end=180))
    await office.settle()
    for n in range(12):
        assert (await office.shipment(f"s{n}")).record.status == "delivered", n


async def test_who_tells_where_shipments_are_now(office: Office) -> None:
    for id_, shipper in (("s1", "acme"), ("s2", "other"), ("s3", "acme")):
        parties = Parties(shipper=shipper)
        await office.plan(msgspec.structs.replace(PLAN, id=id_, parties=parties))
    await office.attach("device/gps", "asset/truck")
    await office.attach("shipment/s1", "asset/truck")
    await office.attach("shipment/s2", "device/other")
    await office.attach("shipment/s3", "device/gps", 0, 60)
    asked = office.conn, office.tenant.id, ["s1", "s2", "s3", "none"]
    assert await devices_of_shipments(*asked) == {"s1": "gps", "s2": "other", "s3": None}
    assert await devices_of_shipments(*asked, party="acme") == {"s1": "gps", "s3": None}
