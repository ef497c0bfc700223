"""Where one device is now: fresh, and many questions to one query."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import pytest

from api.latest import Found, Latest
from tests.integration.api_site import NOON, Rows, Site, later
from tracking.access import Principal
from tracking.errors import StoreUnavailable
from tracking.store.acting import Mandate, acting
from tracking.store.connection import Connection
from tracking.store.keys import create_key
from tracking.store.pool import ReadPool

P = ParamSpec("P")
T = TypeVar("T")


class CountingPool(ReadPool):
    """A pool that counts what is asked of it."""

    asked = 0

    async def run(
        self,
        query: Callable[Concatenate[Connection, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        self.asked += 1
        return await super().run(query, *args, **kwargs)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[CountingPool]:
    pool = CountingPool(database_url)
    await pool.open()
    yield pool
    await pool.close()


def caller(rows: Rows) -> Principal:
    return Principal(rows.tenant_id, rows.tenant, "viewer", 1)


async def ask(latest: Latest, rows: Rows, name: str) -> Found:
    """As a request of this tenant does."""
    with acting(Mandate.of(caller(rows))):
        return await latest.position(caller(rows), name)


async def place(site: Site, name: str) -> tuple[int, Any]:
    response = await site.get(f"/v1/devices/{name}/position")
    return response.status_code, response.json()


async def test_a_device_tells_its_latest_ok_fix_as_every_list_does(site: Site, rows: Rows) -> None:
    rows.device("t1", 5.1)
    rows.device("t2", 5.2)
    listed = (await site.get("/v1/positions")).json()["items"]
    assert [await place(site, "t1"), await place(site, "t2")] == [(200, one) for one in listed]


async def test_a_moved_device_is_told_where_it_is_while_others_ask(site: Site, rows: Rows) -> None:
    rows.device("t1", 5.0)
    for step in range(1, 6):
        others = [asyncio.create_task(place(site, "t1")) for _ in range(20)]
        rows.move("t1", 5 + step, 52, later(step))
        assert (await place(site, "t1"))[1]["lon"] == 5 + step
        for told in await asyncio.gather(*others):
            assert told[1]["lon"] in {4 + step, 5 + step}


async def test_what_is_not_there_or_not_mine_is_not_found(
    site: Site, rows: Rows, database_url: str
) -> None:
    rows.device("new", lon=None)
    with Rows(database_url, "other") as others:
        others.device("theirs")
    for name, named in (("none", "device"), ("theirs", "device"), ("new", "position")):
        status, problem = await place(site, name)
        assert status == 404
        assert problem["detail"].startswith(f"there is no {named}")


async def test_some_devices_can_be_asked_for_by_name(site: Site, rows: Rows) -> None:
    for name in ("t1", "t2", "t3"):
        rows.device(name)
    response = await site.client.get("/v1/positions", params={"device": ["t3", "t1", "none"]})
    assert [item["device"] for item in response.json()["items"]] == ["t1", "t3"]


async def test_who_asks_at_the_same_time_shares_a_query(rows: Rows, pool: CountingPool) -> None:
    for i in range(50):
        rows.device(f"t{i}", i)
    latest = Latest(pool)
    names = [f"t{i % 60}" for i in range(300)]
    found = await asyncio.gather(*(ask(latest, rows, name) for name in names))
    assert pool.asked <= 3
    for name, one in zip(names, found, strict=True):
        number = int(name[1:])
        assert (one is None) == (number >= 50)
        if one is not None:
            assert one[0] is not None
            assert (one[0].device, one[0].lon, one[0].fix_time) == (name, number, NOON)


async def test_tenants_never_share_a_query(
    rows: Rows, pool: CountingPool, database_url: str
) -> None:
    rows.device("same", 1)
    latest = Latest(pool)
    with Rows(database_url, "other") as others:
        others.device("same", 2)
        found = await asyncio.gather(*(ask(latest, who, "same") for who in (rows, others) * 50))
    assert [one[0].lon for one in found if one and one[0]] == [1, 2] * 50


async def test_who_leaves_takes_nobody_along(rows: Rows, pool: CountingPool) -> None:
    rows.device("t1", 5)
    latest = Latest(pool)
    asking = [asyncio.create_task(ask(latest, rows, "t1")) for _ in range(10)]
    await asyncio.sleep(0)
    for task in asking[::2]:
        task.cancel()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in found[::2])
    assert all(isinstance(one, tuple) and one[0] is not None for one in found[1::2])


async def test_without_a_database_everybody_hears_so_and_the_next_may_try(rows: Rows) -> None:
    nowhere = ReadPool("postgresql://nobody@127.0.0.1:1/none?connect_timeout=1")
    await nowhere.open()
    latest = Latest(nowhere)
    for _ in range(2):
        found = await asyncio.gather(
            *(ask(latest, rows, "t1") for _ in range(3)), return_exceptions=True
        )
        assert all(isinstance(one, StoreUnavailable) for one in found)
    await nowhere.close()


async def test_a_viewer_may_ask(site: Site, rows: Rows, database_url: str) -> None:
    rows.device("t1")
    site.client.headers["Authorization"] = (
        f"Bearer {create_key(database_url, 'default', 'reader', 'viewer')}"
    )
    assert (await place(site, "t1"))[0] == 200
