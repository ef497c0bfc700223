"""The api's way to the database: a pool of connections that outlives outages."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from tracking.errors import SchemaOutdated, SettingsError, StoreUnavailable
from tracking.store.acting import NOBODY, Mandate, current_mandate, lock_down, settle
from tracking.store.connection import Connection, prepare
from tracking.store.idempotency import once
from tracking.store.migrate import check

P = ParamSpec("P")
T = TypeVar("T")

# A request waits this long for a connection before it is answered with 503.
_WAIT_S = 2.0
# The server ends a statement after this; the client gives up a little later if the server hangs.
_STATEMENT_S = 10


class _PooledConnection(AsyncConnection[tuple[Any, ...]]):
    """A connection that remembers whom it acts for: of most pairs of queries it is the same."""

    # None while that is being changed: who gives up then leaves it unknown.
    settled: tuple[str, ...] | None = NOBODY.settings

    async def settle(self, mandate: Mandate) -> None:
        if self.settled != mandate.settings:
            self.settled = None
            await settle(self, mandate)
            self.settled = mandate.settings


class ReadPool:
    """Runs queries and edits of `tracking.store` on pooled connections; tasks share one instance.

    Each runs on the mandate of its task, `tracking.store.acting`.

    `open` returns at once and never fails for a database that is away: each query tries again.

    Raises:
        SettingsError: the URL cannot be understood.
    """

    def __init__(self, database_url: str, *, max_size: int = 8) -> None:
        try:
            conninfo_to_dict(database_url)
        except psycopg.ProgrammingError as exc:
            raise SettingsError(f"WAYMARK_DATABASE_URL cannot be used: {_sentence(exc)}") from exc
        self._database_url = database_url
        self._pool: AsyncConnectionPool[_PooledConnection] = AsyncConnectionPool(
            database_url,
            connection_class=_PooledConnection,
            kwargs={
                "autocommit": True,
                "application_name": "waymark-api",
                "connect_timeout": 2,
                "options": f"-c timezone=UTC -c statement_timeout={_STATEMENT_S}s "
                f"-c waymark.tenant_id={NOBODY.settings[0]}",
            },
            # With none kept open and attempts that end after a second, each request makes its
            # own attempt: an outage is over for us one request after it is over.
            min_size=0,
            max_size=max_size,
            max_waiting=200,
            timeout=_WAIT_S,
            reconnect_timeout=1.0,
            open=False,
            name="api",
            configure=_configure,
        )

    async def open(self) -> None:
        """Start the pool's own tasks; connects on demand."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close every connection; queries from here on raise StoreUnavailable."""
        await self._pool.close(timeout=2)

    async def run(
        self,
        query: Callable[Concatenate[Connection, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run an idempotent query; it is run a second time when the first met a dead connection.

        An edit that must happen once says so itself: its second run finds what the first did.

        Raises:
            StoreUnavailable: the database is away, too slow, or lacks migrations.
        """
        try:
            async with asyncio.timeout(_WAIT_S + _STATEMENT_S + 1):
                try:
                    return await self._once(query, *args, **kwargs)
                except _StaleConnectionError:
                    # A restart of the server leaves only dead connections: none of the others
                    # is worth a try.
                    await self._pool.drain()
                    return await self._once(query, *args, **kwargs)
        except (_StaleConnectionError, PoolTimeout, TooManyRequests, TimeoutError) as exc:
            raise StoreUnavailable(f"the database is away: {_sentence(exc)}") from exc
        except psycopg.errors.QueryCanceled as exc:
            raise StoreUnavailable(
                f"the query took longer than {_STATEMENT_S} s: ask for less"
            ) from exc
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as exc:
            raise StoreUnavailable(
                f"the database lacks a table or column, run `waymark migrate`: {_sentence(exc)}"
            ) from exc
        except (psycopg.OperationalError, psycopg.InterfaceError) as exc:
            raise StoreUnavailable(f"the database refused: {_sentence(exc)}") from exc

    async def _once(
        self,
        query: Callable[Concatenate[Connection, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        async with self._pool.connection() as conn:
            try:
                await conn.settle(current_mandate())
                async with once(conn):
                    return await query(conn, *args, **kwargs)
            except (psycopg.OperationalError, psycopg.InterfaceError) as exc:
                if conn.closed:
                    raise _StaleConnectionError(_sentence(exc)) from exc
                raise

    async def missing_migrations(self) -> list[str]:
        """Names of the migrations the database lacks.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        return await asyncio.to_thread(_missing, self._database_url)


async def _configure(conn: Connection) -> None:
    await lock_down(conn)
    # What is missing is told by the query that needs it.
    await prepare(conn, ("ingest_event",))


class _StaleConnectionError(Exception):
    """The connection was dead when it was used; another one may work."""


def _missing(database_url: str) -> list[str]:
    try:
        with psycopg.connect(database_url, connect_timeout=2, autocommit=True) as conn:
            check(conn)
    except SchemaOutdated as exc:
        return exc.missing
    except psycopg.Error as exc:
        raise StoreUnavailable(f"cannot reach the database: {_sentence(exc)}") from exc
    return []


def _sentence(exc: BaseException) -> str:
    return str(exc).strip().partition("\n")[0] or type(exc).__name__
