"""Tenants: made by an operator, never by a message or a request."""

import re
from datetime import datetime
from typing import Any, NamedTuple, cast

import psycopg

from tracking.errors import InputError, StoreUnavailable
from tracking.store.connection import Connection

# One MQTT topic level and one part of a Redis channel: no wildcard, slash or colon.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class TenantInfo(NamedTuple):
    """A tenant, and how much is in it."""

    id: int
    name: str
    created_at: datetime
    devices_n: int
    users_n: int


def create_tenant(database_url: str, name: str) -> int:
    """Make a tenant, or find the one of that name; return its id.

    Raises:
        InputError: the name cannot be a level of an MQTT topic.
        StoreUnavailable: the database cannot be reached.
    """
    if _NAME.fullmatch(name) is None:
        raise InputError(
            f"{name!r} cannot name a tenant: use up to 64 of A-Z a-z 0-9 . _ - and start with a "
            "letter or digit",
            field="tenant",
        )
    try:
        with psycopg.connect(database_url, connect_timeout=10) as conn:
            conn.execute(
                "INSERT INTO tenant (name) VALUES (%s) ON CONFLICT (name) DO NOTHING", (name,)
            )
            return tenant_id_of(conn, name)
    except psycopg.OperationalError as exc:
        raise StoreUnavailable(f"cannot reach the database: {exc}".strip()) from exc


def tenant_id_of(conn: psycopg.Connection[Any], name: str) -> int:
    """The id of a tenant.

    Raises:
        InputError: there is none of that name; the message lists those there are.
    """
    row = conn.execute("SELECT id FROM tenant WHERE name = %s", (name,)).fetchone()
    if row is None:
        known = [r[0] for r in conn.execute("SELECT name FROM tenant ORDER BY name LIMIT 10")]
        raise InputError(
            f"there is no tenant {name!r}; there are: {', '.join(known)}. "
            "Create it first, or use one of these",
            field="tenant",
        )
    return cast("int", row[0])


def list_tenants(database_url: str) -> list[TenantInfo]:
    """Every tenant, by name.

    Raises:
        StoreUnavailable: the database cannot be reached.
    """
    try:
        with psycopg.connect(database_url, connect_timeout=10) as conn:
            found = conn.execute(
                "SELECT t.id, t.name, t.created_at, "
                "(SELECT count(*) FROM device d WHERE d.tenant_id = t.id), "
                "(SELECT count(*) FROM user_account u WHERE u.tenant_id = t.id) "
                "FROM tenant t ORDER BY t.name"
            )
            return [TenantInfo(*row) for row in found]
    except psycopg.OperationalError as exc:
        raise StoreUnavailable(f"cannot reach the database: {exc}".strip()) from exc


async def find_tenant(conn: Connection, name: str) -> int | None:
    """The id of a tenant, None if there is none of that name."""
    found = await conn.execute("SELECT id FROM tenant WHERE name = %s", (name,))
    row = await found.fetchone()
    return None if row is None else row[0]
