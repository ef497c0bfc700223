"""Keeps the fences of every tenant current, and shows them to the fold.

A worker learns of an edit within a second (at once by a notice through Redis) and switches between
two batches. What was folded on the old fences meanwhile is put right: once it has switched, it has
the devices that were near folded again from where the new version starts.
"""

import asyncio
import gc
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.fleet import Fleet
from tracking.fencebook import Changes, FenceBook, padded
from tracking.fold import Fact
from tracking.fold.columnar import Devices, FixColumns
from tracking.fold.scene import Scene
from tracking.fold.terrain import Terrain, Who
from tracking.store.connection import Connection
from tracking.store.fences import (
    audiences,
    devices_near,
    fence_revisions,
    fences_since,
    recent_changes,
)
from tracking.store.repairs import queue_repairs
from tracking.times import EARLIEST_US

Ints = NDArray[np.int64]

# A worker that starts has the devices near edits as recent as this folded again.
_EDITED_WITHIN_S = 900.0
# From so many fences on the garbage collector is told to leave them alone.
_MANY = 500


class Switch(NamedTuple):
    """The fences of one tenant as they changed under this worker."""

    tenant_id: int
    changes: Changes


class Fences:
    """The terrains of all tenants that ever had a fence. One per worker."""

    def __init__(self) -> None:
        self._books: dict[int, FenceBook] = {}
        self._terrains: dict[int, Terrain] = {}
        self._who: dict[int, Who] = {}  # by device id
        self._refreshing = asyncio.Lock()
        # Switches after which nothing was refolded yet.
        self._pending: list[Switch] = []

    def revision(self, tenant_id: int) -> int:
        """The tenant's fences are known up to this revision."""
        return self._books[tenant_id].revision if tenant_id in self._books else 0

    async def refresh(self, conn: Connection) -> int:
        """Take over what was edited since; the fold uses it from the next batch on. Then queue
        the devices near an edit for a repair; return how many.

        Compiling goes on beside the event loop, so that nothing stalls for many fences.
        """  # noqa: D205 -- one contract
        async with self._refreshing:
            for tenant_id, revision in (await fence_revisions(conn)).items():
                if revision > self.revision(tenant_id):
                    await self._switch(conn, tenant_id)
            queued = 0
            while self._pending:
                queued += await self._refold(conn, self._pending[0])
                del self._pending[0]
            return queued

    async def _switch(self, conn: Connection, tenant_id: int) -> None:
        book = self._books.get(tenant_id)
        if book is None:
            book = FenceBook()
            # Every version, however old: a recording may be replayed, and late is what is behind
            # its device's head, not behind our clock.
            rows = await fences_since(conn, tenant_id, 0)
            await asyncio.to_thread(book.apply, rows)
            self._terrains[tenant_id] = await asyncio.to_thread(Terrain, book)
            self._books[tenant_id] = book
            # A worker that was killed may have folded on fences edited shortly before.
            changes = await recent_changes(conn, tenant_id, _EDITED_WITHIN_S)
            changes = changes._replace(zones=list(book.fences))
        else:
            rows = await fences_since(conn, tenant_id, book.revision)
            # The fold reads the book meanwhile, so it changes between two batches only.
            changes = book.take(await asyncio.to_thread(book.prepared, rows))
            # Nothing may be awaited in between: the fold asks the terrain for what the book names.
            self._terrains[tenant_id].refresh(changes.zones)
            if book.scattered:
                before = book.index
                book.compacted(before, await asyncio.to_thread(before.compact))
                self._terrains[tenant_id].refresh(())
        if len(changes.zones) > _MANY:
            # Thousands of fences live as long as the process: the collector need not walk them
            # again and again, which cost 4 us of each message among 46,000.
            gc.freeze()
        # Groups and tags are edited like fences.
        self._who.clear()
        self._pending.append(Switch(tenant_id, changes))

    async def _refold(self, conn: Connection, switch: Switch) -> int:
        """Queue the devices whose history the new fences may tell differently; how many."""
        tenant_id, changes = switch
        book = self._books[tenant_id]
        bounds = list(map(padded, changes.bounds))
        versions = [fence for number in changes.numbers for fence in book.versions(number)]
        if any(fence.options.normal == "inside" for fence in versions):
            # Whoever is anywhere else is not where it should be.
            bounds = [(-180.0, -90.0, 180.0, 90.0)]
        near = await devices_near(conn, tenant_id, bounds, changes.numbers, changes.since_us)
        await queue_repairs(
            conn,
            np.array(near, np.int64),
            np.full(len(near), tenant_id),
            np.full(len(near), changes.since_us),
            np.full(len(near), EARLIEST_US),
            fixes=False,
        )
        return len(near)

    async def meet(self, conn: Connection, fleet: Fleet, slots: Ints) -> None:
        """Learn who the devices of the slots are, where fences ask for that."""
        if not self._terrains:
            return
        asking = [id_ for id_, terrain in self._terrains.items() if terrain.asks]
        device_id = fleet.device_id[slots]
        new = np.flatnonzero(np.isin(fleet.tenant_id[slots], asking))
        unmet = [i for i in new.tolist() if int(device_id[i]) not in self._who]
        if not unmet:
            return
        found = {
            id_: (groups, tags) for id_, groups, tags in await audiences(conn, device_id[unmet])
        }
        for i in unmet:
            id_ = int(device_id[i])
            groups, tags = found.get(id_, ((), ()))
            name = fleet.keys[int(slots[i])].name
            self._who[id_] = Who(name, frozenset(groups), frozenset(tags))

    def scene(
        self, fixes: FixColumns, devices: Devices, slots: Ints, tenant_id: Ints, fleet: Fleet
    ) -> Scene | None:
        """The fixes among the fences; None where no tenant of theirs has any."""
        terrains = [self._terrains.get(id_) for id_ in tenant_id.tolist()]
        if not any(terrains):
            return None
        nobody = Who("")
        who = [self._who.get(id_, nobody) for id_ in fleet.device_id[slots].tolist()]
        return Scene(fixes, devices.states, devices.presences, terrains, who)

    def terrain(self, tenant_id: int) -> Terrain | None:
        """The fences of one tenant; None for one that never had any."""
        return self._terrains.get(tenant_id)

    def was_closed(self, tenant_id: int, fact: Fact) -> bool:
        """Whether the fact tells of a device leaving a fence that has since been deleted."""
        terrain = self._terrains.get(tenant_id)
        return (
            terrain is not None
            and fact.type == "fence.exited"
            and fact.data["reason"] == "left"
            and fact.rule in terrain.deleted
        )
