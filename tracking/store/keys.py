"""API keys: made, listed, rotated and revoked by an operator or an admin; looked up by the api."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import psycopg
from psycopg import AsyncConnection

from tracking.access import ROLES, Principal
from tracking.errors import InputError, StoreUnavailable
from tracking.store.connection import Connection
from tracking.store.tenants import tenant_id_of
from tracking.times import Moment

# 256 random bits as 43 url-safe characters; the prefix lets secret scanners find leaked keys.
_PREFIX = "wmk_"
_LENGTH = len(_PREFIX) + 43


class KeyInfo(NamedTuple):
    """What may be shown of a key; the key itself is not kept."""

    id: int
    tenant: str
    name: str
    role: str
    scopes: list[str] | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class ApiKey(msgspec.Struct, frozen=True):
    """A key as its tenant sees it. It opens nothing after `expires_at` or `revoked_at`.

    `scopes` narrow what the role grants; null: all of it. A key of a `party` reads the shipments
    of that shipper, carrier or consignee, and nothing else.
    """

    id: int
    name: str
    role: str
    scopes: list[str] | None
    party: str | None
    created_at: Moment
    expires_at: Moment | None
    last_used_at: Moment | None
    revoked_at: Moment | None


class KeyDraft(NamedTuple):
    """What a key is to be."""

    name: str
    role: str = "viewer"
    scopes: Sequence[str] | None = None
    expires_at: datetime | None = None
    party: str | None = None


_INSERT = """
INSERT INTO api_key (tenant_id, name, digest, role, scopes, expires_at, party)
VALUES (%s, %s, %s, %s, %s, %s, %s)
"""
_SHOWN = "id, name, role, scopes, party, created_at, expires_at, last_used_at, revoked_at"
_LIVES = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"
_SELECT = f"SELECT {_SHOWN} FROM api_key WHERE tenant_id = %s AND "  # noqa: S608 -- of constants, as below

_TO_ROTATE = f"""
SELECT name, role, scopes, now() + (expires_at - created_at), party, now(), {_LIVES} FROM api_key
WHERE tenant_id = %s AND id = %s FOR UPDATE
"""  # noqa: S608

_WHO = f"""
SELECT k.tenant_id, t.name, k.role, k.id, k.name, k.scopes, k.party,
    k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute'
FROM api_key k JOIN tenant t ON t.id = k.tenant_id WHERE k.digest = %s AND {_LIVES}
"""  # noqa: S608


def new_key() -> str:
    """A key that nobody has yet."""
    return _PREFIX + secrets.token_urlsafe(32)


def create_key(
    database_url: str,
    tenant: str,
    name: str,
    role: str = "viewer",
    *,
    scopes: Sequence[str] | None = None,
    expires_at: datetime | None = None,
    party: str | None = None,
) -> str:
    """Make a key and return it: this is the only time it can be seen.

    Raises:
        InputError: no such tenant or role, or an empty name.
        StoreUnavailable: the database cannot be reached.
    """
    if role not in ROLES:
        raise InputError(f"no role {role!r}: choose one of {', '.join(ROLES)}", field="role")
    if not name.strip():
        raise InputError("a key needs a name that tells where it is used", field="name")
    key = new_key()
    draft = KeyDraft(name, role, scopes, expires_at, party)
    with _connect(database_url) as conn:
        conn.execute(_INSERT, _values(tenant_id_of(conn, tenant), key, draft))
    return key


def list_keys(database_url: str, tenant: str | None = None) -> list[KeyInfo]:
    """Every key, of one tenant or of all, oldest first, revoked ones included.

    Raises:
        StoreUnavailable: the database cannot be reached.
    """
    with _connect(database_url) as conn:
        rows = conn.execute(
            "SELECT k.id, t.name, k.name, k.role, k.scopes, k.created_at, k.expires_at, "
            "k.last_used_at, k.revoked_at "
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


async def page_of_keys(
    conn: Connection, tenant_id: int, *, after: int | None, limit: int
) -> list[ApiKey]:
    """Keys of a tenant, oldest first, those numbered above `after`; ended ones included."""
    found = await conn.execute(
        _SELECT + "id > %s ORDER BY id LIMIT %s", (tenant_id, after or 0, limit)
    )
    return [ApiKey(*row) async for row in found]


async def get_key(conn: Connection, tenant_id: int, key_id: int) -> ApiKey | None:
    """One key of a tenant."""
    found = await conn.execute(_SELECT + "id = %s", (tenant_id, key_id))
    row = await found.fetchone()
    return None if row is None else ApiKey(*row)


async def make_key(conn: Connection, tenant_id: int, key: str, draft: KeyDraft) -> ApiKey:
    """Keep a key of `new_key`. Done twice with the same one it is there once."""
    await conn.execute(_INSERT + "ON CONFLICT (digest) DO NOTHING", _values(tenant_id, key, draft))
    found = await conn.execute(_SELECT + "digest = %s", (tenant_id, digest_of(key)))
    row = await found.fetchone()
    assert row is not None  # noqa: S101 -- keys are never deleted
    return ApiKey(*row)


async def rotate_key(
    conn: Connection, tenant_id: int, key_id: int, key: str, overlap: timedelta
) -> ApiKey | None:
    """Put `key` in place of another, which ends after `overlap`; None if that one has ended.

    The new one may do the same, and lives as long as the other was made for. Done twice with the
    same `key` it is there once.
    """
    async with conn.transaction():
        found = await conn.execute(_TO_ROTATE, (tenant_id, key_id))
        row = await found.fetchone()
        if row is None or not row[-1]:
            return None
        *draft, now, _ = row
        await conn.execute(
            "UPDATE api_key SET expires_at = least(expires_at, %s) WHERE id = %s",
            (now + overlap, key_id),
        )
        return await make_key(conn, tenant_id, key, KeyDraft(*draft))


async def end_key(conn: Connection, tenant_id: int, key_id: int) -> bool:
    """As `revoke_key`, for one tenant; whether there is such a key."""
    done = await conn.execute(
        "UPDATE api_key SET revoked_at = coalesce(revoked_at, now()) "
        "WHERE tenant_id = %s AND id = %s",
        (tenant_id, key_id),
    )
    return done.rowcount > 0


async def authenticate(conn: AsyncConnection[Any], key: str) -> Principal | None:
    """The principal of a key, or None if it is unknown, has expired or was revoked.

    Notes when the key was used, at most once a minute: the usual call only reads.
    """
    if len(key) != _LENGTH or not key.startswith(_PREFIX):
        return None
    return await authenticate_digest(conn, digest_of(key))


async def authenticate_digest(conn: AsyncConnection[Any], digest: bytes) -> Principal | None:
    """As `authenticate`, for a caller that does not keep the key itself."""
    found = await conn.execute(_WHO, (digest,))
    row = await found.fetchone()
    if row is None:
        return None
    *known, scopes, party, used_is_old = row
    if used_is_old:
        # Processes that meet here write the same minute; the loser's update changes nothing.
        await conn.execute(
            "UPDATE api_key SET last_used_at = now() WHERE id = %s "
            "AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')",
            (row[3],),
        )
    principal = Principal(*known)._replace(party=party)
    return principal if scopes is None else principal._replace(scopes=frozenset(scopes))


def digest_of(key: str) -> bytes:
    """What is stored of a key."""
    return hashlib.sha256(key.encode()).digest()


def _values(tenant_id: int, key: str, draft: KeyDraft) -> tuple[object, ...]:
    scopes = None if draft.scopes is None else list(draft.scopes)
    return (
        tenant_id,
        draft.name,
        digest_of(key),
        draft.role,
        scopes,
        draft.expires_at,
        draft.party,
    )


def _connect(database_url: str) -> psycopg.Connection[tuple[Any, ...]]:
    try:
        return psycopg.connect(database_url, connect_timeout=10)
    except psycopg.OperationalError as exc:
        raise StoreUnavailable(f"cannot reach the database: {exc}".strip()) from exc
