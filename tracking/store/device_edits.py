"""Writing what people say of devices: that they are there, groups, tags and attributes."""

from collections.abc import Sequence
from typing import NamedTuple

from tracking.store.connection import Connection
from tracking.store.fence_edits import raise_revision


class DeviceEdit(NamedTuple):
    """What to change of a device; None leaves it. `attrs` is a JSON object."""

    groups: Sequence[str] | None = None
    tags: Sequence[str] | None = None
    attrs: bytes | None = None


async def register_device(
    conn: Connection, tenant_id: int, name: str, given: DeviceEdit
) -> tuple[bool, int | None]:
    """Register a device; whether it is new, and the fences' revision as `edit_device` tells it."""
    async with conn.transaction():
        cursor = await conn.execute(
            "WITH made AS (INSERT INTO device (tenant_id, name) VALUES (%s, %s) "
            "ON CONFLICT DO NOTHING RETURNING id, tenant_id) "
            "INSERT INTO device_state (device_id, tenant_id) SELECT id, tenant_id FROM made",
            (tenant_id, name),
        )
        if cursor.rowcount == 0:
            return False, None
        return await edit_device(conn, tenant_id, name, given)


async def edit_device(
    conn: Connection, tenant_id: int, name: str, edit: DeviceEdit
) -> tuple[bool, int | None]:
    """Change a device; whether it is there, and the fences' new revision if its audience moved.

    Fences apply to groups and tags, so workers hear of those as of an edited fence.
    """
    async with conn.transaction():
        cursor = await conn.execute(
            "SELECT id, groups, tags FROM device WHERE tenant_id = %s AND name = %s FOR UPDATE",
            (tenant_id, name),
        )
        row = await cursor.fetchone()
        if row is None:
            return False, None
        device_id, groups, tags = row
        now = (
            groups if edit.groups is None else list(dict.fromkeys(edit.groups)),
            tags if edit.tags is None else list(dict.fromkeys(edit.tags)),
        )
        await conn.execute(
            "UPDATE device SET groups = %s, tags = %s, attrs = coalesce(%s::jsonb, attrs) "
            "WHERE id = %s",
            (*now, None if edit.attrs is None else edit.attrs.decode(), device_id),
        )
        if now == (groups, tags):
            return True, None
        return True, await raise_revision(conn, tenant_id)
