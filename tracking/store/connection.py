"""Connections of the long-running writers, and the one place where driver errors are translated."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.types import TypeInfo

from tracking.errors import SchemaOutdated, StoreRefused, StoreUnavailable
from tracking.store.arrays import register

# Composite types of rows.
_TYPES = ("ingest_position", "ingest_state_2", "ingest_event")

Connection = AsyncConnection[tuple[Any, ...]]


async def connect(database_url: str, *, name: str) -> Connection:
    """Open a connection that sends numpy columns; `name` shows in pg_stat_activity.

    Raises:
        StoreUnavailable: the server cannot be reached within 5 s.
        SchemaOutdated: migrations are missing.
    """
    with translated():
        conn = await AsyncConnection.connect(
            database_url,
            autocommit=True,
            connect_timeout=5,
            application_name=name,
            # A writer that hangs on a dead peer would hold its device locks; the server notices.
            options="-c idle_in_transaction_session_timeout=60s -c tcp_user_timeout=20s",
            keepalives_idle=10,
            prepare_threshold=3,
        )
        missing = await prepare(conn, _TYPES)
        if missing:
            await conn.close()
            raise SchemaOutdated([f"the one that makes {missing[0]}"])
    return conn


async def prepare(conn: Connection, types: Iterable[str]) -> list[str]:
    """Teach a connection to send columns, and rows of these types; return those there are not."""
    register(conn.adapters)
    missing = []
    for name in types:
        info = await TypeInfo.fetch(conn, name)
        if info is None:
            missing.append(name)
        else:
            info.register(conn)
    return missing


async def end_with_client(conn: Connection) -> None:
    """From here on have a query end whose client is gone, even where nobody could cancel it."""
    await conn.execute("SET client_connection_check_interval = '1s'")


async def hold_snapshot(conn: Connection) -> None:
    """From here to its end have the connection see one state of the database, and only read.

    Who does not use it for five minutes loses it: old rows are kept for as long as it lasts.
    """
    await conn.execute("SET idle_in_transaction_session_timeout = '5min'")
    await end_with_client(conn)
    await conn.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")


def type_oid(conn: Connection, name: str) -> int:
    """The oid, in this database, of a type `prepare` has looked up."""
    return conn.adapters.types[name].oid


@contextmanager
def translated() -> Iterator[None]:
    """Turn driver errors into ours.

    Raises:
        StoreRefused: a value does not fit, so whoever brought it must be found.
        StoreUnavailable: anything else (gone, restarting, deadlock, disk full, schema mid-change):
            the values are not at fault and must be kept until it works.
    """
    try:
        yield
    except (psycopg.DataError, psycopg.IntegrityError) as exc:
        raise StoreRefused(str(exc).strip()) from exc
    except psycopg.Error as exc:
        raise StoreUnavailable(str(exc).strip() or type(exc).__name__) from exc
