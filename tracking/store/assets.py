"""Assets: whatever carries and is carried, named by whoever owns it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from tracking import raw
from tracking.errors import Conflict
from tracking.store.asking import rows_where
from tracking.store.connection import Connection
from tracking.times import Moment


class AssetView(msgspec.Struct, frozen=True):
    """An asset as the api tells it."""

    id: str
    kind: str
    name: str
    attrs: raw.Object
    version: int
    created_at: Moment
    updated_at: Moment
    updated_by: str | None


class AssetFilter(NamedTuple):
    """Which assets; None leaves that question open."""

    prefix: str | None = None
    kind: str | None = None
    name: str | None = None


class AssetEdit(NamedTuple):
    """What to change; None leaves it. `attrs` is a JSON object."""

    kind: str | None = None
    name: str | None = None
    attrs: bytes | None = None


_COLUMNS = "id, kind, name, attrs::text, version, created_at, updated_at, updated_by"


async def list_assets(
    conn: Connection, tenant_id: int, wanted: AssetFilter, *, after: str | None, limit: int
) -> list[AssetView]:
    """Assets by id, at most `limit`, those behind the id `after`."""
    asked = {
        "starts_with(id, %(prefix)s)": ("prefix", wanted.prefix),
        "kind = %(kind)s": ("kind", wanted.kind),
        "position(lower(%(name)s) in lower(name)) > 0": ("name", wanted.name),
        "id > %(after)s": ("after", after),
    }
    found = await rows_where(
        conn,
        f"SELECT {_COLUMNS} FROM asset",  # noqa: S608 -- of constants
        ["tenant_id = %(tenant_id)s", "deleted_at IS NULL"],
        asked,
        order="ORDER BY id LIMIT %(limit)s",
        values={"tenant_id": tenant_id, "limit": limit},
    )
    return [_view(row) for row in found]


async def get_asset(conn: Connection, tenant_id: int, asset_id: str) -> AssetView | None:
    """One asset; None for one that was deleted."""
    found = await conn.execute(
        f"SELECT {_COLUMNS} FROM asset "  # noqa: S608 -- as above
        "WHERE tenant_id = %s AND id = %s AND deleted_at IS NULL",
        (tenant_id, asset_id),
    )
    row = await found.fetchone()
    return None if row is None else _view(row)


async def create_asset(
    conn: Connection, tenant_id: int, asset_id: str, made: AssetEdit, *, author: str | None
) -> AssetView | None:
    """Make an asset; None when the id is taken. A deleted one comes back with its history."""
    kind, name, attrs = made
    found = await conn.execute(
        "INSERT INTO asset AS a (tenant_id, id, kind, name, attrs, updated_by) "  # noqa: S608
        "VALUES (%s, %s, %s, %s, %s::jsonb, %s) ON CONFLICT (tenant_id, id) DO UPDATE SET "
        "kind = excluded.kind, name = excluded.name, attrs = excluded.attrs, "
        "updated_by = excluded.updated_by, updated_at = now(), deleted_at = NULL, "
        f"version = a.version + 1 WHERE a.deleted_at IS NOT NULL RETURNING {_COLUMNS}",
        (tenant_id, asset_id, kind, name, (attrs or b"{}").decode(), author),
    )
    row = await found.fetchone()
    return None if row is None else _view(row)


async def edit_asset(
    conn: Connection,
    tenant_id: int,
    asset_id: str,
    edit: AssetEdit,
    *,
    author: str | None,
    only_over: Sequence[int] | None = None,
) -> AssetView | None:
    """Change an asset; None when there is none in one of the versions `only_over`."""
    found = await conn.execute(
        "UPDATE asset SET kind = coalesce(%(kind)s, kind), name = coalesce(%(name)s, name), "  # noqa: S608
        "attrs = coalesce(%(attrs)s::jsonb, attrs), version = version + 1, updated_at = now(), "
        "updated_by = %(author)s WHERE tenant_id = %(tenant_id)s AND id = %(id)s "
        "AND deleted_at IS NULL AND (%(only)s::integer[] IS NULL OR version = ANY(%(only)s)) "
        f"RETURNING {_COLUMNS}",
        {
            "kind": edit.kind,
            "name": edit.name,
            "attrs": None if edit.attrs is None else edit.attrs.decode(),
            "author": author,
            "tenant_id": tenant_id,
            "id": asset_id,
            "only": None if only_over is None else list(only_over),
        },
    )
    row = await found.fetchone()
    return None if row is None else _view(row)


async def delete_asset(
    conn: Connection, tenant_id: int, asset_id: str, *, author: str | None
) -> bool:
    """Retire an asset; where it was stays known. False when there is none.

    Raises:
        Conflict: something is still attached to it, or it to something.
    """
    async with conn.transaction():
        found = await conn.execute(
            "SELECT number FROM asset WHERE tenant_id = %s AND id = %s AND deleted_at IS NULL "
            "FOR UPDATE",
            (tenant_id, asset_id),
        )
        row = await found.fetchone()
        if row is None:
            return False
        found = await conn.execute(
            "SELECT count(*) FROM attachment WHERE tenant_id = %(tenant_id)s "
            "AND removed_at IS NULL AND (valid_to IS NULL OR valid_to > now()) "
            "AND (load_kind = 'asset' AND load_number = %(number)s "
            "OR carrier_kind = 'asset' AND carrier_number = %(number)s)",
            {"tenant_id": tenant_id, "number": row[0]},
        )
        (attached,) = await found.fetchone() or (0,)
        if attached:
            raise Conflict(f"asset {asset_id!r} has {attached} open attachments: end them first")
        await conn.execute(
            "UPDATE asset SET deleted_at = now(), updated_at = now(), updated_by = %s, "
            "version = version + 1 WHERE number = %s",
            (author, row[0]),
        )
        return True


def _view(row: tuple[Any, ...]) -> AssetView:
    id_, kind, name, attrs, *more = row
    return AssetView(id_, kind, name, msgspec.Raw(attrs.encode()), *more)
