"""Look-ups of one device's latest position, many of them answered by one query."""

import asyncio

from tracking.access import Principal
from tracking.feed import PositionUpdate
from tracking.store.devices import latest_of
from tracking.store.pool import ReadPool

# Of one query; who waits beyond that is answered by the next.
_AT_ONCE = 1_000

# None: there is no such device; a device without a position: it had no ok fix yet.
Found = tuple[PositionUpdate | None] | None


class Latest:
    """Answers where one device is. What is asked for while a query runs shares the next one.

    Each answer comes from a query that began after the question, so it is as fresh as one that
    had a query of its own. Callers never share one: a query sees what its caller may see.
    """

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool
        self._waiting: dict[Principal, list[tuple[str, asyncio.Future[Found]]]] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def position(self, caller: Principal, name: str) -> Found:
        """The latest ok fix of a device of the caller's tenant.

        Raises:
            StoreUnavailable: the database is away, too slow, or lacks migrations.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Found] = loop.create_future()
        waiting = self._waiting.get(caller)
        if waiting is None:
            waiting = self._waiting[caller] = []
            running = loop.create_task(self._answer(caller, waiting), name="api.latest")
            self._running.add(running)
            running.add_done_callback(self._running.discard)
        waiting.append((name, future))
        return await future

    async def _answer(
        self, caller: Principal, waiting: list[tuple[str, asyncio.Future[Found]]]
    ) -> None:
        # Between the last look at `waiting` and its removal nothing is awaited: nobody is left.
        while waiting:
            asked = waiting[:_AT_ONCE]
            del waiting[:_AT_ONCE]
            names = list({name for name, _ in asked})
            try:
                found = await self._pool.run(latest_of, caller.tenant_id, names)
            except Exception as exc:  # noqa: BLE001 -- it is theirs who asked
                for _, future in asked:
                    if not future.done():
                        future.set_exception(exc)
                continue
            for name, future in asked:
                # Who left meanwhile has cancelled it.
                if not future.done():
                    future.set_result((found[name],) if name in found else None)
        del self._waiting[caller]
