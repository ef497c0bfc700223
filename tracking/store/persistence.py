"""Persistence in both senses: a connection to the store that insists."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Self, TypeVar

from tracking.errors import StoreUnavailable
from tracking.store.connection import Connection, connect, translated

logger = logging.getLogger(__name__)

_BACKOFF_FIRST_S, _BACKOFF_MAX_S = 0.1, 5.0

T = TypeVar("T")


class Store:
    """One connection that is opened when needed and replaced when lost.

    An async context manager; one task uses it.
    """

    def __init__(self, database_url: str, name: str) -> None:
        self._database_url = database_url
        self._name = name
        self._conn: Connection | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._conn is not None:
            await self._conn.close()

    async def insist(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do `work`, again and again while the database is away, with jittered backoff.

        Raises:
            StoreRefused: the values are at fault.
        """
        attempt = 0
        while True:
            try:
                if self._conn is None or self._conn.closed:
                    self._conn = await connect(self._database_url, name=self._name)
                with translated():
                    return await work(self._conn)
            except StoreUnavailable as exc:
                ceiling_s = min(_BACKOFF_MAX_S, _BACKOFF_FIRST_S * 2 ** min(attempt, 10))
                if attempt % 10 == 0:
                    logger.warning("the database is away, trying again: %s", exc)
                attempt += 1
                await asyncio.sleep(random.uniform(0, ceiling_s))  # noqa: S311 -- jitter
