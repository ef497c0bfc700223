"""Devices' credentials at the broker: issued, rotated, revoked, and read by brokers."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec

from tracking.broker_access import Identity, username_of
from tracking.errors import Conflict
from tracking.store.connection import Connection
from tracking.times import Moment

Kind = Literal["password", "certificate"]

# A device needs one, two while it changes over; more is a program gone wild.
_MAX_ACTIVE = 20


class DeviceCredential(msgspec.Struct, frozen=True):
    """A credential as it may be shown; `username` is a certificate's common name."""

    id: UUID
    kind: Kind
    username: str
    label: str
    created_at: Moment
    created_by: str
    expires_at: Moment | None
    revoked_at: Moment | None


class NewCredential(NamedTuple):
    """What to issue. `id` is the caller's, so that asking twice issues once.

    `common_name` is of a certificate, `secret_hash` of a password.
    """

    id: UUID
    kind: Kind
    label: str
    author: str
    secret_hash: str | None = None
    common_name: str | None = None
    expires_at: datetime | None = None


class BrokerUser(NamedTuple):
    """An active credential as a broker must know it."""

    kind: Kind
    identity: Identity
    secret_hash: str | None
    tenant_id: int


_COLUMNS = "id, kind, username, label, created_at, created_by, expires_at, revoked_at"
_ACTIVE = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"
_USER = f"""
SELECT c.kind, t.name, d.name, c.username, c.secret_hash, c.tenant_id
FROM device_credential c JOIN device d ON d.id = c.device_id JOIN tenant t ON t.id = c.tenant_id
WHERE {_ACTIVE}"""  # noqa: S608 -- our own names, as below
_ISSUE = f"""
INSERT INTO device_credential (id, tenant_id, device_id, kind, username, secret_hash, label,
    created_by, expires_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING {_COLUMNS}
"""  # noqa: S608


async def list_credentials(
    conn: Connection, tenant_id: int, device: str, *, before: int | None, limit: int
) -> list[tuple[int, DeviceCredential]] | None:
    """(number, credential) of a device, the latest first; None when there is no such device."""
    device_id = await _device_id(conn, tenant_id, device)
    if device_id is None:
        return None
    cursor = await conn.execute(
        f"SELECT number, {_COLUMNS} FROM device_credential WHERE device_id = %s "  # noqa: S608 -- our own names
        "AND (%s::bigint IS NULL OR number < %s) ORDER BY number DESC LIMIT %s",
        (device_id, before, before, limit),
    )
    return [(row[0], DeviceCredential(*row[1:])) async for row in cursor]


async def get_credential(
    conn: Connection, tenant_id: int, device: str, id_: UUID
) -> DeviceCredential | None:
    """One credential of a device."""
    device_id = await _device_id(conn, tenant_id, device)
    return None if device_id is None else await _by_id(conn, device_id, id_)


async def issue_credential(
    conn: Connection, tenant_id: int, device: str, new: NewCredential
) -> DeviceCredential | None:
    """Issue one; None when there is no such device.

    Raises:
        Conflict: the certificate's name is taken, or the device has too many.
    """
    async with conn.transaction():
        # Whoever issues or revokes for a device holds its row, so names cannot clash.
        device_id = await _device_id(conn, tenant_id, device, lock=True)
        if device_id is None:
            return None
        return await _issue(conn, tenant_id, device, device_id, new)


async def rotate_credential(
    conn: Connection,
    tenant_id: int,
    device: str,
    id_: UUID,
    *,
    new: NewCredential,
    overlap_s: float,
) -> DeviceCredential | None:
    """Issue a password in the place of another, which works for `overlap_s` more at most.

    None when the device has no such credential.

    Raises:
        Conflict: the other is over, or no password.
    """
    async with conn.transaction():
        device_id = await _device_id(conn, tenant_id, device, lock=True)
        found = await conn.execute(
            f"SELECT kind, {_ACTIVE}, label FROM device_credential "  # noqa: S608 -- our own names
            "WHERE id = %s AND device_id = %s",
            (id_, device_id),
        )
        row = await found.fetchone()
        if device_id is None or row is None:
            return None
        kind, active, label = row
        if kind != "password":
            raise Conflict(
                "a certificate is renewed by its authority: under its name it goes on to work"
            )
        if not active:
            # Unless this very request ended it, on a connection that broke before it could tell.
            made = await _by_id(conn, device_id, new.id)
            if made is not None:
                return made
            raise Conflict("this credential is over: issue another")
        issued = await _issue(conn, tenant_id, device, device_id, new._replace(label=label))
        await conn.execute(
            "UPDATE device_credential SET "
            "expires_at = least(expires_at, now() + make_interval(secs => %s)), "
            "revoked_at = CASE WHEN %s = 0 THEN now() END WHERE id = %s",
            (overlap_s, overlap_s, id_),
        )
        return issued


async def revoke_credential(conn: Connection, tenant_id: int, device: str, id_: UUID) -> bool:
    """Make a credential useless; whether the device has it. Revoking twice is harmless."""
    done = await conn.execute(
        "UPDATE device_credential c SET revoked_at = coalesce(revoked_at, now()) FROM device d "
        "WHERE d.id = c.device_id AND d.tenant_id = %s AND d.name = %s AND c.id = %s",
        (tenant_id, device, id_),
    )
    return done.rowcount == 1


async def broker_users(conn: Connection) -> AsyncIterator[BrokerUser]:
    """Every active credential of every tenant, by user name."""
    cursor = await conn.execute(f"{_USER} ORDER BY c.username")
    async for row in cursor:
        yield _broker_user(row)


async def broker_user(conn: Connection, kind: Kind, username: str) -> BrokerUser | None:
    """The active credential of a user name."""
    cursor = await conn.execute(f"{_USER} AND c.kind = %s AND c.username = %s", (kind, username))
    row = await cursor.fetchone()
    return None if row is None else _broker_user(row)


async def credentials_mark(conn: Connection) -> tuple[int, int]:
    """What is another whenever `broker_users` tells something else.

    Numbers rise and credentials do not change, so one that came has the highest number there was,
    and if none came, one that went leaves fewer.
    """
    cursor = await conn.execute(
        f"SELECT count(*), coalesce(max(number), 0) FROM device_credential WHERE {_ACTIVE}"  # noqa: S608 -- our own names
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 -- an aggregate
    return row[0], row[1]


async def _issue(
    conn: Connection, tenant_id: int, device: str, device_id: int, new: NewCredential
) -> DeviceCredential:
    made = await _by_id(conn, device_id, new.id)
    if made is not None:
        return made
    await conn.execute(
        "UPDATE device_credential SET revoked_at = expires_at "
        "WHERE device_id = %s AND revoked_at IS NULL AND expires_at <= now()",
        (device_id,),
    )
    cursor = await conn.execute(
        "SELECT c.username, t.name FROM tenant t LEFT JOIN device_credential c "
        "ON c.device_id = %s AND c.revoked_at IS NULL AND c.kind = %s WHERE t.id = %s",
        (device_id, new.kind, tenant_id),
    )
    rows = await cursor.fetchall()
    taken = {username for username, _ in rows if username is not None}
    if len(taken) >= _MAX_ACTIVE:
        raise Conflict(f"device {device!r} has {len(taken)} credentials: revoke some")
    username = new.common_name or username_of(rows[0][1], device, taken)
    # Of another device of this tenant: the names of other tenants begin otherwise.
    done = await conn.execute(
        _ISSUE,
        (
            new.id,
            tenant_id,
            device_id,
            new.kind,
            username,
            new.secret_hash,
            new.label,
            new.author,
            new.expires_at,
        ),
    )
    row = await done.fetchone()
    if row is None:
        raise Conflict(f"the common name {username!r} stands for a device already")
    return DeviceCredential(*row)


async def _by_id(conn: Connection, device_id: int, id_: UUID) -> DeviceCredential | None:
    cursor = await conn.execute(
        f"SELECT {_COLUMNS} FROM device_credential WHERE id = %s AND device_id = %s",  # noqa: S608 -- our own names
        (id_, device_id),
    )
    row = await cursor.fetchone()
    return None if row is None else DeviceCredential(*row)


async def _device_id(
    conn: Connection, tenant_id: int, name: str, *, lock: bool = False
) -> int | None:
    query = "SELECT id FROM device WHERE tenant_id = %s AND name = %s"
    cursor = await conn.execute(query + (" FOR UPDATE" if lock else ""), (tenant_id, name))
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


def _broker_user(row: tuple[Any, ...]) -> BrokerUser:
    kind, tenant, device, username, secret_hash, tenant_id = row
    return BrokerUser(kind, Identity(tenant, device, username), secret_hash, tenant_id)
