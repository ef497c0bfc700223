"""Tenants and devices by name."""

from collections.abc import Sequence
from typing import Any

from tracking.store.arrays import Int4s, texts
from tracking.store.connection import Connection


async def tenant_ids(conn: Connection) -> dict[str, int]:
    """Every tenant's id by name."""
    cursor = await conn.execute("SELECT name, id FROM tenant")
    return dict(await cursor.fetchall())


async def find_devices(
    conn: Connection, keys: Sequence[tuple[int, str]]
) -> dict[tuple[int, str], int]:
    """Ids of those of `keys`, (tenant_id, name), that are registered."""
    cursor = await conn.execute(
        "SELECT d.tenant_id, d.name, d.id FROM unnest(%s, %s) k(tenant_id, name) "
        "JOIN device d USING (tenant_id, name)",
        _columns(keys),
    )
    return {(tenant_id, name): device_id async for tenant_id, name, device_id in cursor}


async def register_devices(conn: Connection, keys: Sequence[tuple[int, str]]) -> None:
    """Register each (tenant_id, name) that is not yet there. Idempotent; sorted, so that two
    workers meeting the same new devices cannot deadlock.
    """  # noqa: D205 -- one contract
    async with conn.transaction():
        await conn.execute(
            "WITH made AS (INSERT INTO device (tenant_id, name) SELECT * FROM unnest(%s, %s) "
            "ON CONFLICT DO NOTHING RETURNING id, tenant_id) "
            "INSERT INTO device_state (device_id, tenant_id) SELECT id, tenant_id FROM made",
            _columns(sorted(keys)),
        )


def _columns(keys: Sequence[tuple[int, str]]) -> tuple[Int4s, Any]:
    return Int4s([tenant_id for tenant_id, _ in keys]), texts([name for _, name in keys])
