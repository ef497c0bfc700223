"""API keys: made, listed and revoked by an operator; looked up by the api."""

import hashlib
import secrets
from datetime import datetime
from typing import Any, NamedTuple

import psycopg
from psycopg import AsyncConnection

from tracking.access import ROLES, Principal
from tracking.errors import InputError, StoreUnavailable
from tracking.store.tenants import tenant_id_of

# 256 random bits as 43 url-safe characters; the prefix lets secret scanners find leaked keys.
_PREFIX = "wmk_"
_LENGTH = len(_PREFIX) + 43


class KeyInfo(NamedTuple):
    """What may be shown of a key; the key itself is not kept."""

    id: int
    tenant: str
    name: str
    role: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


def create_key(database_url: str, tenant: str, name: str, role: str = "viewer") -> str:
    """Make a key and return it: this is the only time it can be seen.

    Raises:
        InputError: no such tenant or role, or an empty name.
        StoreUnavailable: the database cannot be reached.
    """
    if role not in ROLES:
        raise InputError(f"no role {role!r}: choose one of {', '.join(ROLES)}", field="role")
    if not name.strip():
        raise InputError("a key needs a name that tells where it is used", field="name")
    key = _PREFIX + secrets.token_urlsafe(32)
    with _connect(database_url) as conn:
        conn.execute(
            "INSERT INTO api_key (tenant_id, name, digest, role) VALUES (%s, %s, %s, %s)",
            (tenant_id_of(conn, tenant), name, digest_of(key), role),
        )
    return key


def list_keys(database_url: str, tenant: str | None = None) -> list[KeyInfo]:
    """Every key, of one tenant or of all, oldest first, revoked ones included.

    Raises:
        StoreUnavailable: the database cannot be reached.
    """
    with _connect(database_url) as conn:
        rows = conn.execute(
            "SELECT k.id, t.name, k.name, k.role, k.created_at, k.last_used_at, k.revoked_at "
            "FROM api_key k JOIN tenant t ON t.id = k.tenant_id "
            "WHERE %(tenant)s::text IS NULL OR t.name = %(tenant)s ORDER BY k.id",
            {"tenant": tenant},
        )
        return [KeyInfo(*row) for row in rows]


def revoke_key(database_url: str, key_id: int) -> None:
    """Make a key useless, within seconds everywhere. Revoking twice is harmless.

    Raises:
        InputError: there is no such key.
        StoreUnavailable: the database cannot be reached.
    """
    with _connect(database_url) as conn:
        done = conn.execute(
            "UPDATE api_key SET revoked_at = coalesce(revoked_at, now()) WHERE id = %s", (key_id,)
        )
        if done.rowcount == 0:
            raise InputError(f"there is no api key {key_id}", field="key_id")


async def authenticate(conn: AsyncConnection[Any], key: str) -> Principal | None:
    """The principal of a key, or None if it is unknown or revoked.

    Notes when the key was used, at most once a minute: the usual call only reads.
    """
    if len(key) != _LENGTH or not key.startswith(_PREFIX):
        return None
    return await authenticate_digest(conn, digest_of(key))


async def authenticate_digest(conn: AsyncConnection[Any], digest: bytes) -> Principal | None:
    """As `authenticate`, for a caller that does not keep the key itself."""
    found = await conn.execute(
        "SELECT k.tenant_id, t.name, k.role, k.id, k.name, "
        "k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute' "
        "FROM api_key k JOIN tenant t ON t.id = k.tenant_id "
        "WHERE k.digest = %s AND k.revoked_at IS NULL",
        (digest,),
    )
    row = await found.fetchone()
    if row is None:
        return None
    *principal, used_is_old = row
    if used_is_old:
        # Processes that meet here write the same minute; the loser's update changes nothing.
        await conn.execute(
            "UPDATE api_key SET last_used_at = now() WHERE id = %s "
            "AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')",
            (row[3],),
        )
    return Principal(*principal)


def digest_of(key: str) -> bytes:
    """What is stored of a key."""
    return hashlib.sha256(key.encode()).digest()


def _connect(database_url: str) -> psycopg.Connection[tuple[Any, ...]]:
    try:
        return psycopg.connect(database_url, connect_timeout=10)
    except psycopg.OperationalError as exc:
        raise StoreUnavailable(f"cannot reach the database: {exc}".strip()) from exc
