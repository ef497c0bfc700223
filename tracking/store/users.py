"""People who sign in: made, changed and removed by whoever administers them."""

from datetime import timedelta
from typing import NamedTuple

import msgspec
import psycopg

from tracking.access import Role
from tracking.errors import Conflict
from tracking.store.connection import Connection
from tracking.times import Moment

INVITED_FOR = timedelta(days=7)

_COLUMNS = (
    "id, email, name, role, disabled_at IS NOT NULL, password IS NULL, "
    "totp_secret IS NOT NULL, version, created_at, signed_in_at, party"
)

_CHANGE = """
UPDATE user_account SET version = version + 1, email = coalesce(%(email)s, email),
    name = coalesce(%(name)s, name), role = coalesce(%(role)s, role),
    disabled_at = CASE WHEN coalesce(%(disabled)s, disabled_at IS NOT NULL)
        THEN coalesce(disabled_at, now()) END
WHERE tenant_id = %(tenant_id)s AND id = %(id)s
    AND (%(over)s::integer[] IS NULL OR version = ANY(%(over)s))
"""


class User(msgspec.Struct, frozen=True):
    """Who signs in. `invited`: has not set a password yet.

    With a `party` they see the shipments of that shipper, carrier or consignee, and nothing else.
    """

    id: int
    email: str
    name: str
    role: Role
    disabled: bool
    invited: bool
    second_factor: bool
    version: int
    created_at: Moment
    signed_in_at: Moment | None
    party: str | None


class UserFilter(NamedTuple):
    """Which users; None does not restrict."""

    email: str | None = None
    role: str | None = None
    disabled: bool | None = None


class Changes(NamedTuple):
    """What to change of a user; None leaves it."""

    email: str | None = None
    name: str | None = None
    role: str | None = None
    disabled: bool | None = None


async def list_users(
    conn: Connection, tenant_id: int, wanted: UserFilter, *, after: str | None, limit: int | None
) -> list[User]:
    """Users by e-mail, at most `limit` if there is one, those behind the address `after`."""
    found = await conn.execute(
        f"SELECT {_COLUMNS} FROM user_account WHERE tenant_id = %(tenant_id)s "  # noqa: S608 -- ours
        "AND (%(after)s::text IS NULL OR email > %(after)s) "
        "AND (%(email)s::text IS NULL OR strpos(email, %(email)s) > 0) "
        "AND (%(role)s::text IS NULL OR role = %(role)s) "
        "AND (%(disabled)s::boolean IS NULL OR (disabled_at IS NOT NULL) = %(disabled)s) "
        "ORDER BY email LIMIT %(limit)s",
        {"tenant_id": tenant_id, "after": after, "limit": limit, **wanted._asdict()},
    )
    return [User(*row) async for row in found]


async def get_user(conn: Connection, tenant_id: int, user_id: int) -> User | None:
    """One user."""
    found = await conn.execute(
        f"SELECT {_COLUMNS} FROM user_account WHERE tenant_id = %s AND id = %s",  # noqa: S608
        (tenant_id, user_id),
    )
    row = await found.fetchone()
    return None if row is None else User(*row)


async def find_user(conn: Connection, tenant_id: int, email: str) -> User | None:
    """The user of this address."""
    found = await conn.execute(
        f"SELECT {_COLUMNS} FROM user_account WHERE tenant_id = %s AND email = %s",  # noqa: S608
        (tenant_id, email),
    )
    row = await found.fetchone()
    return None if row is None else User(*row)


async def create_user(
    conn: Connection,
    tenant_id: int,
    *,
    email: str,
    name: str,
    role: str,
    invite: bytes,
    party: str | None = None,
) -> User | None:
    """Make a user who sets a password with the token of this digest; None: the address is taken."""
    made = await conn.execute(
        "INSERT INTO user_account (tenant_id, email, name, role, invite, party, "  # noqa: S608 -- ours
        "invite_expires_at) VALUES (%s, %s, %s, %s, %s, %s, now() + %s) "
        "ON CONFLICT (tenant_id, email) DO NOTHING "
        f"RETURNING {_COLUMNS}",
        (tenant_id, email, name, role, invite, party, INVITED_FOR),
    )
    row = await made.fetchone()
    return None if row is None else User(*row)


async def change_user(
    conn: Connection,
    tenant_id: int,
    user_id: int,
    changes: Changes,
    *,
    only_over: tuple[int, ...] | None = None,
) -> User | None:
    """Change a user; None when there is none in one of the versions `only_over`.

    Whoever is disabled is signed out everywhere.

    Raises:
        Conflict: the address is taken, or nobody could administer the tenant any more.
    """
    async with conn.transaction():
        leaves = changes.disabled or changes.role not in {None, "admin"}
        if leaves:
            await _keep_an_admin(conn, tenant_id, user_id)
        values = changes._asdict() | {
            "tenant_id": tenant_id,
            "id": user_id,
            "over": None if only_over is None else list(only_over),
        }
        try:
            async with conn.transaction():
                done = await conn.execute(_CHANGE, values)
        except psycopg.errors.UniqueViolation:
            raise Conflict(f"{changes.email} is another user's", field="email") from None
        except psycopg.errors.CheckViolation:
            raise Conflict("whoever is of a party is a viewer", field="role") from None
        if not done.rowcount:
            return None
        if changes.disabled:
            await end_sessions(conn, tenant_id, user_id, "disabled")
        return await get_user(conn, tenant_id, user_id)


async def delete_user(conn: Connection, tenant_id: int, user_id: int) -> bool:
    """Remove a user with all sessions; what they did stays in the audit log.

    Raises:
        Conflict: nobody could administer the tenant any more.
    """
    async with conn.transaction():
        await _keep_an_admin(conn, tenant_id, user_id)
        gone = await conn.execute(
            "DELETE FROM user_account WHERE tenant_id = %s AND id = %s", (tenant_id, user_id)
        )
        return gone.rowcount > 0


async def reset_user(conn: Connection, tenant_id: int, user_id: int, invite: bytes) -> User | None:
    """Take password and second factor away, end all sessions; the token sets a new password."""
    async with conn.transaction():
        done = await conn.execute(
            "UPDATE user_account SET password = NULL, totp_secret = NULL, totp_pending = NULL, "
            "recovery = '{}', invite = %s, invite_expires_at = now() + %s "
            "WHERE tenant_id = %s AND id = %s",
            (invite, INVITED_FOR, tenant_id, user_id),
        )
        if done.rowcount:
            await end_sessions(conn, tenant_id, user_id, "reset")
        return await get_user(conn, tenant_id, user_id)


async def end_sessions(
    conn: Connection, tenant_id: int, user_id: int, reason: str, *, but: object = None
) -> int:
    """End the sessions of a user, all `but` one; return how many there were."""
    done = await conn.execute(
        "UPDATE user_session SET ended_at = now(), ended_reason = %s WHERE tenant_id = %s "
        "AND user_id = %s AND ended_at IS NULL AND ends_at > now() AND id IS DISTINCT FROM %s",
        (reason, tenant_id, user_id, but),
    )
    return done.rowcount


async def _keep_an_admin(conn: Connection, tenant_id: int, user_id: int) -> None:
    """Refuse if nobody else could administer the tenant; lock those who can until the commit.

    Two who remove each other wait here, and the second finds themselves the last.
    """
    found = await conn.execute(
        "SELECT id FROM user_account WHERE tenant_id = %s AND role = 'admin' "
        "AND disabled_at IS NULL AND password IS NOT NULL ORDER BY id FOR UPDATE",
        (tenant_id,),
    )
    if await found.fetchall() == [(user_id,)]:
        raise Conflict("this is the last admin of the tenant: make another one first", field="role")
