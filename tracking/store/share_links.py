"""Share links as they are kept: by the digest of their token, which nobody can turn back."""

from datetime import datetime
from typing import NamedTuple

from tracking.sharing import ShareLink
from tracking.store.connection import Connection

_SHOWN = "l.id, l.stop, l.stops_away, l.created_at, l.created_by, l.expires_at, l.revoked_at"


class LinkDraft(NamedTuple):
    """What a link is to be."""

    digest: bytes
    stop: int
    stops_away: int
    expires_at: datetime


class Opened(NamedTuple):
    """What a token opens."""

    tenant_id: int
    shipment: str
    link: ShareLink


async def make_link(
    conn: Connection, tenant_id: int, shipment: int, draft: LinkDraft, *, author: str | None
) -> ShareLink:
    """Keep a link to a shipment, by its number. Done twice with one digest it is there once."""
    await conn.execute(
        "INSERT INTO share_link (tenant_id, shipment_number, digest, stop, stops_away, expires_at, "
        "created_by) VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (digest) DO NOTHING",
        (tenant_id, shipment, *draft, author),
    )
    found = await conn.execute(
        f"SELECT {_SHOWN} FROM share_link l WHERE l.tenant_id = %s AND l.digest = %s",  # noqa: S608
        (tenant_id, draft.digest),
    )
    row = await found.fetchone()
    assert row is not None  # noqa: S101 -- links are never deleted
    return ShareLink(*row)


async def links_of(conn: Connection, tenant_id: int, shipment: int) -> list[ShareLink]:
    """The links to a shipment, the last made first, ended ones included."""
    found = await conn.execute(
        f"SELECT {_SHOWN} FROM share_link l WHERE l.tenant_id = %s "  # noqa: S608
        "AND l.shipment_number = %s ORDER BY l.id DESC",
        (tenant_id, shipment),
    )
    return [ShareLink(*row) async for row in found]


async def revoke_link(conn: Connection, tenant_id: int, shipment: int, link: int) -> bool:
    """End a link at once; twice is harmless. False when there is none."""
    done = await conn.execute(
        "UPDATE share_link SET revoked_at = coalesce(revoked_at, now()) "
        "WHERE tenant_id = %s AND shipment_number = %s AND id = %s",
        (tenant_id, shipment, link),
    )
    return bool(done.rowcount)


async def open_link(conn: Connection, digest: bytes) -> Opened | None:
    """What a token's digest opens; None for one that is unknown or over."""
    found = await conn.execute(
        f"SELECT l.tenant_id, s.id, {_SHOWN} FROM share_link l "  # noqa: S608
        "JOIN shipment s ON s.number = l.shipment_number "
        "WHERE l.digest = %s AND l.revoked_at IS NULL AND l.expires_at > now()",
        (digest,),
    )
    row = await found.fetchone()
    return None if row is None else Opened(row[0], row[1], ShareLink(*row[2:]))
