"""Writing what people say of devices: that they are there, groups, tags and attributes."""

from collections.abc import Mapping, Sequence
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
    conn: Connection,
    tenant_id: int,
    name: str,
    edit: DeviceEdit,
    *,
    only_over: Sequence[int] | None = None,
) -> tuple[bool, int | None]:
    """Change a device; whether it is there, and the fences' new revision if its audience moved.

    With `only_over` it is there in one of these versions. Fences apply to groups and tags, so
    workers hear of those as of an edited fence.
    """
    async with conn.transaction():
        moved = await _edit(conn, tenant_id, name, edit, only_over)
        return moved is not None, await raise_revision(conn, tenant_id) if moved else None


async def edit_devices(
    conn: Connection, tenant_id: int, edits: Mapping[str, DeviceEdit]
) -> tuple[set[str], int | None]:
    """Change many devices at once; the names of those there are, and the revision as above."""
    async with conn.transaction():
        # In one order, so that two of these cannot wait for each other.
        moved = {
            name: await _edit(conn, tenant_id, name, edits[name], None) for name in sorted(edits)
        }
        done = {name for name, one in moved.items() if one is not None}
        return done, await raise_revision(conn, tenant_id) if any(moved.values()) else None


async def _edit(
    conn: Connection,
    tenant_id: int,
    name: str,
    edit: DeviceEdit,
    only_over: Sequence[int] | None,
) -> bool | None:
    """Whether the audience of the device moved; None: it is not there. Nothing new is no edit."""
    cursor = await conn.execute(
        "SELECT id, groups, tags, version FROM device WHERE tenant_id = %s AND name = %s "
        "FOR UPDATE",
        (tenant_id, name),
    )
    row = await cursor.fetchone()
    if row is None or (only_over is not None and row[3] not in only_over):
        return None
    device_id, groups, tags, _ = row
    now = (
        groups if edit.groups is None else list(dict.fromkeys(edit.groups)),
        tags if edit.tags is None else list(dict.fromkeys(edit.tags)),
    )
    await conn.execute(
        "UPDATE device SET groups = %(groups)s, tags = %(tags)s, version = version + 1, "
        "attrs = coalesce(%(attrs)s::jsonb, attrs) WHERE id = %(id)s AND (groups, tags, attrs) "
        "IS DISTINCT FROM (%(groups)s::text[], %(tags)s::text[], "
        "coalesce(%(attrs)s::jsonb, attrs))",
        {
            "groups": now[0],
            "tags": now[1],
            "attrs": None if edit.attrs is None else edit.attrs.decode(),
            "id": device_id,
        },
    )
    return now != (groups, tags)
