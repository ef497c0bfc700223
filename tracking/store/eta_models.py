"""Versions of what was learned of arrivals: a tenant's engines, one used, the last few kept."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import NamedTuple

import msgspec
from psycopg.rows import class_row

from tracking.errors import InputError, ModelUnreadable
from tracking.eta.engine import Engine
from tracking.eta.packed import FORMAT
from tracking.store.connection import Connection
from tracking.times import Moment, utc_now

logger = logging.getLogger(__name__)

# Versions kept beside the pinned one.
_KEPT = 10
_LOCK_SPACE = 0x6574  # "et"

# Used is the pinned one, else the highest this program can read.
_LATEST = """
SELECT version FROM eta_model WHERE tenant_id = %s AND format <= %s
ORDER BY pinned DESC, version DESC LIMIT 1
"""

_SAVE = """
INSERT INTO eta_model (
    tenant_id, version, made_by, begun_at, upto, trips, fixes, format, engine)
SELECT %(tenant_id)s, coalesce(max(version), 0) + 1, %(made_by)s, %(begun_at)s, %(upto)s,
    %(trips)s, %(fixes)s, %(format)s, %(engine)s
FROM eta_model WHERE tenant_id = %(tenant_id)s
RETURNING version
"""

# Of a device that was erased since, a version may know where it began and ended.
_KNOWS_ERASED = """
EXISTS (SELECT FROM erasure e WHERE e.tenant_id = m.tenant_id AND e.kind = 'device'
    AND e.finished_at > m.begun_at)"""

_PRUNE = f"""
DELETE FROM eta_model m WHERE tenant_id = %(tenant_id)s AND version < %(version)s AND (
    {_KNOWS_ERASED} OR (NOT pinned AND version <= (
        SELECT version FROM eta_model WHERE tenant_id = %(tenant_id)s AND NOT pinned
        ORDER BY version DESC OFFSET %(kept)s LIMIT 1)))
"""  # noqa: S608 -- of constants

_LINE = f"""
SELECT version, begun_at, upto, trips, fixes FROM (
    SELECT * FROM eta_model WHERE tenant_id = %(tenant_id)s ORDER BY version DESC LIMIT 1) m
WHERE NOT %(anew)s AND NOT {_KNOWS_ERASED}
"""  # noqa: S608 -- of constants

_LIST = """
SELECT version, made_at, made_by, upto, trips, fixes, pinned, octet_length(engine) AS bytes_n,
    format <= %s AND version = (SELECT version FROM eta_model l WHERE l.tenant_id = m.tenant_id
        AND l.format <= %s ORDER BY pinned DESC, version DESC LIMIT 1) AS used
FROM eta_model m WHERE tenant_id = %s ORDER BY version DESC
"""

# Those whose last version is old enough, and who have driven since, or had a device erased. Newer
# programs' are passed by.
_DUE = f"""
SELECT t.id, t.name FROM tenant t LEFT JOIN LATERAL (
    SELECT * FROM eta_model m WHERE m.tenant_id = t.id ORDER BY version DESC LIMIT 1) m ON true
WHERE (m.version IS NULL OR (m.format <= %(format)s
        AND m.made_at <= now() - make_interval(secs => %(every_s)s)))
    AND ({_KNOWS_ERASED} OR EXISTS (
        SELECT FROM event e WHERE e.tenant_id = t.id AND e.cursor > coalesce(m.upto, 0)
            AND e.type IN ('trip.ended', 'stop.arrived') AND e.status = 'active'))
ORDER BY m.made_at NULLS FIRST
"""  # noqa: S608 -- of constants


class Model(msgspec.Struct, frozen=True):
    """A version: what it was learned from, and whether forecasts are made with it.

    `upto` is the cursor of the last event it was learned from; `trips` and `fixes` are all in all.
    """

    version: int
    made_at: Moment
    made_by: str
    upto: int
    trips: int
    fixes: int
    bytes_n: int
    pinned: bool
    used: bool


class Line(NamedTuple):
    """How far a line of versions is, from when it was begun with nothing learned.

    `version` is the last of it; 0: there is none. `upto` is the cursor it learned up to, `trips`
    and `fixes` what from.
    """

    version: int
    begun_at: datetime
    upto: int = 0
    trips: int = 0
    fixes: int = 0


async def latest_engine(conn: Connection, tenant_id: int, known: int) -> tuple[int, Engine] | None:
    """The version to forecast with, and its engine; None: `known` is it.

    While nothing was learned that is version 0, which has learned nothing. A version that cannot
    be read is told in the log, and what is known goes on.
    """
    found = await conn.execute(_LATEST, (tenant_id, FORMAT))
    row = await found.fetchone()
    version = 0 if row is None else int(row[0])
    if version == known:
        return None
    if version == 0:
        return 0, Engine()
    found = await conn.execute(
        "SELECT engine FROM eta_model WHERE tenant_id = %s AND version = %s", (tenant_id, version)
    )
    row = await found.fetchone()
    if row is None:  # removed meanwhile: the next look finds another
        return None
    try:
        return version, await asyncio.to_thread(Engine.load, row[0])
    except ModelUnreadable as exc:
        logger.error("version %d of tenant %d: %s", version, tenant_id, exc)  # noqa: TRY400
        return None


async def line_of(conn: Connection, tenant_id: int, *, anew: bool = False) -> Line:
    """The line that training goes on with: that of the highest version, pinned or not.

    It is a new one where there is none, where a device was erased that it may know of, and `anew`.
    """
    found = await conn.execute(_LINE, {"tenant_id": tenant_id, "anew": anew})
    row = await found.fetchone()
    if row is not None:
        return Line(*row)
    found = await conn.execute("SELECT clock_timestamp()")
    (now,) = await found.fetchone() or (utc_now(),)
    return Line(0, now)


async def engine_of(conn: Connection, tenant_id: int, line: Line) -> Engine:
    """What the line has learned.

    Raises:
        ModelUnreadable: it is damaged or a newer program's; the message says what to do.
    """
    if not line.version:
        return Engine()
    found = await conn.execute(
        "SELECT engine FROM eta_model WHERE tenant_id = %s AND version = %s",
        (tenant_id, line.version),
    )
    (saved,) = await found.fetchone() or (b"",)
    return await asyncio.to_thread(Engine.load, saved)


@asynccontextmanager
async def sole_trainer(conn: Connection, tenant_id: int) -> AsyncIterator[bool]:
    """Whether nobody else trains this tenant; nobody else will until this ends.

    It ends with the connection at the latest, so whoever is killed is in nobody's way.
    """
    key = (_LOCK_SPACE, tenant_id)
    found = await conn.execute("SELECT pg_try_advisory_lock(%s, %s)", key)
    (sole,) = await found.fetchone() or (False,)
    try:
        yield sole
    finally:
        if sole and not conn.closed:
            await conn.execute("SELECT pg_advisory_unlock(%s, %s)", key)


async def save_version(
    conn: Connection, tenant_id: int, line: Line, engine: bytes, *, made_by: str
) -> int:
    """Save the next version and remove old ones; the sole trainer's to do.

    Those go too, pinned or not, that may know of a device that was erased.
    """
    values = {"tenant_id": tenant_id, "made_by": made_by, "format": FORMAT, "engine": engine}
    async with conn.transaction():
        found = await conn.execute(_SAVE, {**line._asdict(), **values})
        (version,) = await found.fetchone() or (0,)
        await conn.execute(_PRUNE, {"tenant_id": tenant_id, "version": version, "kept": _KEPT})
    return int(version)


async def move_version(conn: Connection, tenant_id: int, version: int, upto: int) -> None:
    """Note that up to a later cursor there was nothing to learn."""
    await conn.execute(
        "UPDATE eta_model SET upto = %s WHERE tenant_id = %s AND version = %s",
        (upto, tenant_id, version),
    )


async def list_models(conn: Connection, tenant_id: int) -> list[Model]:
    """The versions there are, the latest first."""
    async with conn.cursor(row_factory=class_row(Model)) as cursor:
        await cursor.execute(_LIST, (FORMAT, FORMAT, tenant_id))
        return await cursor.fetchall()


async def pin_version(conn: Connection, tenant_id: int, version: int | None) -> None:
    """Have forecasts made with a version until another is pinned; None: with the latest again.

    Raises:
        InputError: there is no such version.
    """
    async with conn.transaction():
        await conn.execute(
            "UPDATE eta_model SET pinned = false WHERE tenant_id = %s AND pinned", (tenant_id,)
        )
        if version is None:
            return
        found = await conn.execute(
            "UPDATE eta_model SET pinned = true WHERE tenant_id = %s AND version = %s "
            "AND format <= %s",
            (tenant_id, version, FORMAT),
        )
        if not found.rowcount:
            raise InputError(
                f"there is no version {version} that this program reads: see `waymark eta models`",
                field="version",
            )


async def tenants_to_train(conn: Connection, every_s: float) -> list[tuple[int, str]]:
    """Who has driven since a last version that is at least so old; who waits longest first."""
    found = await conn.execute(_DUE, {"format": FORMAT, "every_s": every_s})
    return [(id_, name) for id_, name in await found.fetchall()]
