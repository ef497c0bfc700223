"""Fences in a real database: versions, revisions, and the devices an edit concerns."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from struct import pack

import msgspec
import pytest
from shapely import Point, box

from geofence.shapes import Kind, Shape
from tests.integration.api_site import NOON, Rows, later
from tracking.errors import InputError
from tracking.fencebook import Bounds, FenceBook
from tracking.fences import Audience, FenceDraft, FenceOptions
from tracking.store.connection import Connection, connect
from tracking.store.fence_edits import Edit, delete_fences, raise_revision, save_fences
from tracking.store.fences import (
    audiences,
    devices_near,
    fence_revisions,
    fences_since,
    recent_changes,
)
from tracking.times import to_us

NOON_US = to_us(NOON)
HOUR_US = 3_600_000_000
UTRECHT: Bounds = (5.0, 52.0, 5.2, 52.2)


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[Connection]:
    connection = await connect(database_url, name="test")
    yield connection
    await connection.close()


@pytest.fixture
async def second(database_url: str) -> AsyncIterator[Connection]:
    connection = await connect(database_url, name="test")
    yield connection
    await connection.close()


@pytest.fixture
async def tenant(conn: Connection) -> int:
    cursor = await conn.execute("SELECT id FROM tenant WHERE name = 'default'")
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


def draft(  # noqa: PLR0917 -- what a test varies
    id_: str = "depot",
    bounds: Bounds = UTRECHT,
    name: str = "Depot",
    options: FenceOptions = FenceOptions(),  # noqa: B008 -- frozen
    from_us: int | None = None,
    only_over: tuple[int, ...] | None = None,
) -> FenceDraft:
    ring = [[x, y] for x, y in box(*bounds).exterior.coords]
    document = msgspec.json.encode({"type": "Polygon", "coordinates": [ring]})
    return FenceDraft(
        id_,
        name,
        Shape(Kind.POLYGON, box(*bounds)),
        document,
        options,
        effective_from_us=from_us,
        only_over=only_over,
    )


async def save(conn: Connection, tenant: int, *drafts: FenceDraft, partial: bool = False) -> Edit:
    return await save_fences(conn, tenant, drafts, author="test", partial=partial)


def outcomes(edit: Edit) -> list[tuple[str, int]]:
    return [(saved.outcome, saved.version) for saved in edit.saved]


async def read_book(conn: Connection, tenant: int) -> FenceBook:
    book = FenceBook()
    book.apply(await fences_since(conn, tenant, 0))
    return book


async def spans(conn: Connection, tenant: int) -> list[tuple[str, int, int, int | None]]:
    book = await read_book(conn, tenant)
    return [(f.id, f.version, f.from_us, f.to_us) for f in book.fences.values()]


class TestVersions:
    async def test_a_new_fence_is_version_1_from_now_on(
        self, conn: Connection, tenant: int
    ) -> None:
        before_us = to_us(datetime.now(UTC))
        edit = await save(conn, tenant, draft())
        assert outcomes(edit) == [("created", 1)]
        ((_, version, from_us, to),) = await spans(conn, tenant)
        assert (version, to) == (1, None)
        assert before_us <= from_us <= to_us(datetime.now(UTC))

    async def test_what_was_saved_is_what_is_read(self, conn: Connection, tenant: int) -> None:
        options = FenceOptions(layer="zones", dwell_s=60.0, applies_to=Audience(tags=("cold",)))
        circle = Shape(Kind.CIRCLE, Point(5.1, 52.1), 250.0)
        await save_fences(
            conn,
            tenant,
            [FenceDraft("c", "Ünïcode", circle, b"{}", options, effective_from_us=NOON_US)],
            author=None,
        )
        (fence,) = (await read_book(conn, tenant)).fences.values()
        assert (fence.id, fence.name, fence.options) == ("c", "Ünïcode", options)
        assert fence.shape == circle
        assert (fence.created_us, fence.from_us, fence.to_us) == (NOON_US, NOON_US, None)

    async def test_an_edit_ends_the_version_before_where_it_begins(
        self, conn: Connection, tenant: int
    ) -> None:
        await save(conn, tenant, draft(from_us=NOON_US))
        edit = await save(conn, tenant, draft(name="New", from_us=NOON_US + HOUR_US))
        assert outcomes(edit) == [("changed", 2)]
        assert await spans(conn, tenant) == [
            ("depot", 1, NOON_US, NOON_US + HOUR_US),
            ("depot", 2, NOON_US + HOUR_US, None),
        ]
        book = await read_book(conn, tenant)
        assert {fence.created_us for fence in book.fences.values()} == {NOON_US}

    @pytest.mark.parametrize("from_us", [None, NOON_US, NOON_US + HOUR_US])
    async def test_the_same_again_changes_nothing(
        self, conn: Connection, tenant: int, from_us: int | None
    ) -> None:
        first = await save(conn, tenant, draft(from_us=NOON_US))
        again = await save(conn, tenant, draft(from_us=from_us))
        assert outcomes(again) == [("unchanged", 1)]
        assert again.revision == first.revision
        assert await fence_revisions(conn) == {tenant: first.revision}

    async def test_a_start_sent_back_as_it_was_told_means_now(
        self, conn: Connection, tenant: int
    ) -> None:
        await save(conn, tenant, draft(from_us=NOON_US))
        edit = await save(conn, tenant, draft(name="New", from_us=NOON_US))
        assert outcomes(edit) == [("changed", 2)]
        assert (await spans(conn, tenant))[1][2] > NOON_US

    async def test_a_version_cannot_begin_before_the_one_it_follows(
        self, conn: Connection, tenant: int
    ) -> None:
        await save(conn, tenant, draft(from_us=NOON_US))
        edit = await save(conn, tenant, draft(name="New", from_us=NOON_US - 1))
        (refused,) = edit.saved
        assert (refused.outcome, refused.reason) == ("refused", "too_early")
        assert refused.field == "effective_from"
        assert "starts at 2026-03-08T12:00:00Z" in str(refused.detail)
        assert await spans(conn, tenant) == [("depot", 1, NOON_US, None)]

    async def test_only_over_guards_what_was_read(self, conn: Connection, tenant: int) -> None:
        assert outcomes(await save(conn, tenant, draft(only_over=(1,)))) == [("refused", 0)]
        assert outcomes(await save(conn, tenant, draft(only_over=(0,)))) == [("created", 1)]
        (exists,) = (await save(conn, tenant, draft(only_over=(0,)))).saved
        assert (exists.outcome, exists.reason, exists.version) == ("refused", "exists", 1)
        await save(conn, tenant, draft(name="2", only_over=(1,)))
        (stale,) = (await save(conn, tenant, draft(name="3", only_over=(1,)))).saved
        assert (stale.reason, stale.version) == ("other_version", 2)

    async def test_one_that_is_refused_holds_the_others_back(
        self, conn: Connection, tenant: int
    ) -> None:
        await save(conn, tenant, draft("a", from_us=NOON_US), draft("b", from_us=NOON_US))
        drafts = [draft("a", name="x", from_us=1), draft("b"), draft("b2"), draft("a2")]
        assert outcomes(await save(conn, tenant, *drafts)) == [
            ("refused", 1),
            ("unchanged", 1),
            ("held_back", 0),
            ("held_back", 0),
        ]
        assert len(await spans(conn, tenant)) == 2
        assert outcomes(await save(conn, tenant, *drafts, partial=True)) == [
            ("refused", 1),
            ("unchanged", 1),
            ("created", 1),
            ("created", 1),
        ]
        assert len(await spans(conn, tenant)) == 4

    async def test_an_id_may_be_there_once(self, conn: Connection, tenant: int) -> None:
        with pytest.raises(InputError, match="once"):
            await save(conn, tenant, draft("a"), draft("a"))

    async def test_editors_that_meet_wait_for_each_other(
        self, conn: Connection, second: Connection, tenant: int
    ) -> None:
        async def editor(c: Connection, name: str) -> list[Edit]:
            return [await save(c, tenant, draft(name=f"{name} {i}")) for i in range(10)]

        pairs = await asyncio.gather(editor(conn, "a"), editor(second, "b"))
        edits = [edit for pair in pairs for edit in pair]
        assert sorted(saved.version for edit in edits for saved in edit.saved) == [*range(1, 21)]
        assert sorted(edit.revision for edit in edits) == [*range(1, 21)]
        ends = await spans(conn, tenant)
        assert [end for *_, end in ends[:-1]] == [start for _, _, start, _ in ends[1:]]

    async def test_ten_thousand_are_saved_at_once(self, conn: Connection, tenant: int) -> None:
        drafts = [
            draft(f"f{i}", (5 + i * 1e-4, 52, 5.001 + i * 1e-4, 52.001)) for i in range(10_000)
        ]
        async with asyncio.timeout(30):
            edit = await save(conn, tenant, *drafts)
        assert {saved.outcome for saved in edit.saved} == {"created"}
        assert edit.revision == 1
        assert len(await spans(conn, tenant)) == 10_000


class TestDeleting:
    async def test_a_deleted_fence_ends_now_and_keeps_its_versions(
        self, conn: Connection, tenant: int
    ) -> None:
        await save(conn, tenant, draft(from_us=NOON_US))
        gone = await delete_fences(conn, tenant, ["depot", "unknown"])
        assert (gone.ids, gone.revision) == (["depot"], 2)
        ((_, _, _, end),) = await spans(conn, tenant)
        assert end is not None
        again = await delete_fences(conn, tenant, ["depot"])
        assert (again.ids, again.revision) == ([], 2)

    async def test_one_that_was_yet_to_come_never_holds(
        self, conn: Connection, tenant: int
    ) -> None:
        future_us = to_us(datetime.now(UTC)) + HOUR_US
        await save(conn, tenant, draft(from_us=future_us))
        await delete_fences(conn, tenant, ["depot"])
        assert await spans(conn, tenant) == [("depot", 1, future_us, future_us)]

    async def test_a_deleted_fence_comes_back_and_the_gap_stays(
        self, conn: Connection, tenant: int
    ) -> None:
        await save(conn, tenant, draft(from_us=NOON_US))
        await delete_fences(conn, tenant, ["depot"])
        assert outcomes(await save(conn, tenant, draft(only_over=(0,)))) == [("created", 2)]
        book = await read_book(conn, tenant)
        first, last = book.fences.values()
        assert first.number == last.number
        assert first.to_us is not None
        assert last.from_us > first.to_us
        assert last.to_us is None
        assert last.created_us == NOON_US
        (early,) = (await save(conn, tenant, draft("depot", name="x", from_us=NOON_US + 1))).saved
        assert early.reason == "too_early"

    async def test_tenants_do_not_see_each_other(
        self, conn: Connection, tenant: int, database_url: str
    ) -> None:
        with Rows(database_url, "acme") as acme:
            await save(conn, tenant, draft(name="ours"))
            await save(conn, acme.tenant_id, draft(name="theirs"))
            assert (await delete_fences(conn, acme.tenant_id, ["depot"])).ids == ["depot"]
            (ours,) = (await read_book(conn, tenant)).fences.values()
            assert (ours.name, ours.to_us) == ("ours", None)


class TestFollowing:
    async def test_only_what_was_written_since_comes_again(
        self, conn: Connection, tenant: int
    ) -> None:
        book = FenceBook()
        await save(conn, tenant, draft("a"), draft("b"))
        book.apply(await fences_since(conn, tenant, book.revision))
        await save(conn, tenant, draft("a", name="new"))
        loaded = await fences_since(conn, tenant, book.revision)
        # The version that ended, and the one that began.
        assert [row[1:4] for row in loaded.rows] == [("a", "Depot", 1), ("a", "new", 2)]
        changes = book.apply(loaded)
        assert len(changes.zones) == 2
        assert book.revision == (await fence_revisions(conn))[tenant]
        assert not (await fences_since(conn, tenant, book.revision)).rows

    async def test_ended_versions_may_be_left_out(self, conn: Connection, tenant: int) -> None:
        await save(conn, tenant, draft(from_us=NOON_US))
        await save(conn, tenant, draft(name="new", from_us=NOON_US + HOUR_US))
        loaded = await fences_since(conn, tenant, 0, ended_after_us=NOON_US + HOUR_US)
        assert [row[3] for row in loaded.rows] == [2]

    async def test_an_edit_of_devices_alone_is_caught_up_with(
        self, conn: Connection, tenant: int
    ) -> None:
        async with conn.transaction():
            revision = await raise_revision(conn, tenant)
        loaded = await fences_since(conn, tenant, 0)
        assert (loaded.revision, loaded.rows) == (revision, [])

    async def test_a_tenant_without_fences_is_not_named(self, conn: Connection) -> None:
        assert await fence_revisions(conn) == {}

    async def test_recent_edits_are_told(self, conn: Connection, tenant: int) -> None:
        nothing = await recent_changes(conn, tenant, 60)
        assert (nothing.numbers, nothing.bounds) == ([], [])
        await save(conn, tenant, draft(from_us=NOON_US))
        recent = await recent_changes(conn, tenant, 60)
        assert (recent.bounds, recent.since_us) == ([UTRECHT], NOON_US)
        await conn.execute(
            "UPDATE fence_version SET recorded_at = now() - interval '1 h', "
            "revised_at = now() - interval '1 h'"
        )
        assert (await recent_changes(conn, tenant, 60)).numbers == []
        await delete_fences(conn, tenant, ["depot"])
        deleted = await recent_changes(conn, tenant, 60)
        assert deleted.numbers == recent.numbers
        assert deleted.since_us == (await spans(conn, tenant))[0][3]


class TestDevicesNear:
    @pytest.fixture
    def rows(self, database_url: str) -> Iterator[Rows]:
        with Rows(database_url) as rows:
            yield rows

    async def near(
        self,
        conn: Connection,
        tenant: int,
        bounds: Sequence[Bounds] = (),
        numbers: Sequence[int] = (),
        since_us: int = NOON_US,
    ) -> list[int]:
        return await devices_near(conn, tenant, bounds, numbers, since_us)

    async def test_a_device_that_passed_through_a_box_is_near(
        self, conn: Connection, tenant: int, rows: Rows
    ) -> None:
        inside, early = rows.device("inside"), rows.device("early")
        rows.fixes(inside, 5)  # at 5 degrees east, 52 north
        rows.fixes(early, 5, start=later(-60))
        assert await self.near(conn, tenant, [(4.9, 51.9, 5.1, 52.1)]) == [inside]
        assert await self.near(conn, tenant, [(4.0, 51.9, 4.9, 52.1)]) == []
        assert await self.near(conn, tenant, [(4.9, 52.1, 5.1, 52.2)]) == []

    @pytest.mark.parametrize("n", [2, 100])
    async def test_of_many_boxes_each_counts(
        self, conn: Connection, tenant: int, rows: Rows, n: int
    ) -> None:
        device = rows.device("d")
        rows.fixes(device, 5)
        elsewhere = [(20.0 + i, 10.0, 20.5 + i, 11.0) for i in range(n - 1)]
        assert await self.near(conn, tenant, [*elsewhere, (4.9, 51.9, 5.1, 52.1)]) == [device]
        assert await self.near(conn, tenant, elsewhere) == []

    async def test_a_few_boxes_do_not_stand_for_the_ground_between_them(
        self, conn: Connection, tenant: int, rows: Rows
    ) -> None:
        rows.fixes(rows.device("d"), 5)
        assert await self.near(conn, tenant, [(4, 51, 4.5, 51.5), (6, 53, 7, 54)]) == []

    @pytest.mark.parametrize("west", [-355.1, 4.9, 364.9])
    async def test_boxes_may_be_unwrapped(
        self, conn: Connection, tenant: int, rows: Rows, west: float
    ) -> None:
        device = rows.device("d")
        rows.fixes(device, 5)
        assert await self.near(conn, tenant, [(west, 51.9, west + 0.2, 52.1)]) == [device]

    async def test_a_box_may_cross_the_antimeridian(
        self, conn: Connection, tenant: int, rows: Rows
    ) -> None:
        device = rows.device("d")
        rows.fixes(device, 2)
        await conn.execute("UPDATE position SET lon = -179.9")
        assert await self.near(conn, tenant, [(179.0, 51, 180.5, 53)]) == [device]
        assert await self.near(conn, tenant, [(-180.5, 51, -179.5, 53)]) == [device]
        assert await self.near(conn, tenant, [(-200.0, 51, 200.0, 53)]) == [device]
        assert await self.near(conn, tenant, [(179.0, 51, 180.05, 53)]) == []

    @pytest.mark.parametrize("others", [0, 100])
    async def test_a_device_that_remembers_a_fence_is_near(
        self, conn: Connection, tenant: int, rows: Rows, others: int
    ) -> None:
        inside, _ = rows.device("inside"), rows.device("outside")
        await conn.execute(
            "UPDATE device_state SET presences = %s WHERE device_id = %s",
            (pack("<qqdqqqd", 7, 7, 0.5, 99, 7, 7, 1.5), inside),
        )
        numbers = [1_000 + i for i in range(others)]
        assert await self.near(conn, tenant, numbers=[7, *numbers]) == [inside]
        assert await self.near(conn, tenant, numbers=[8, *numbers]) == []

    async def test_other_tenants_devices_are_not(
        self, conn: Connection, tenant: int, database_url: str
    ) -> None:
        with Rows(database_url, "acme") as acme:
            acme.fixes(acme.device("d"), 5)
            assert await self.near(conn, tenant, [(4.9, 51.9, 5.1, 52.1)]) == []

    async def test_audiences_are_groups_and_tags(self, conn: Connection, rows: Rows) -> None:
        device = rows.device("d")
        await conn.execute("UPDATE device SET groups = '{north}', tags = '{cold,van}'")
        assert await audiences(conn, [device, 10**9]) == [(device, ["north"], ["cold", "van"])]
