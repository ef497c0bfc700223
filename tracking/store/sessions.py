"""Sessions of people who signed in: begun, refreshed, listed and ended."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from tracking.access import Principal
from tracking.refreshing import SESSION_FOR, TOKEN_FOR, Presented, Verdict, judge
from tracking.store.accounts import Account
from tracking.store.connection import Connection
from tracking.times import Moment

_PRESENTED = """
SELECT r.expires_at, r.spent_at, r.successor, next.spent_at IS NOT NULL, next.expires_at,
    s.ends_at, s.ended_at IS NOT NULL OR u.disabled_at IS NOT NULL, clock_timestamp(),
    s.id, s.tenant_id, t.name, u.role, u.email, u.id, u.party
FROM refresh_token r JOIN user_session s ON s.id = r.session_id
JOIN user_account u ON u.id = s.user_id JOIN tenant t ON t.id = s.tenant_id
LEFT JOIN refresh_token next ON next.digest = r.successor WHERE r.digest = %s
"""


class Client(NamedTuple):
    """From where somebody signs in, as they tell it."""

    address: str | None
    user_agent: str | None


class SessionInfo(msgspec.Struct, frozen=True):
    """One session as its owner sees it."""

    id: UUID
    started_at: Moment
    refreshed_at: Moment
    ends_at: Moment
    address: str | None
    user_agent: str | None


class Refreshed(NamedTuple):
    """What became of a refresh token, whose it is, and until when the next one is good."""

    verdict: Verdict
    principal: Principal
    expires_at: datetime


class Started(NamedTuple):
    """A new session."""

    id: UUID
    expires_at: datetime


async def start_session(
    conn: Connection, account: Account, digest: bytes, client: Client
) -> Started | None:
    """Begin a session with its first refresh token, and note that its owner signed in.

    None if the account was disabled, or its password changed, since it was read: whoever did that
    has ended the sessions there were, and must not miss one.
    """
    async with conn.transaction():
        stands = await conn.execute(
            "UPDATE user_account SET signed_in_at = now() "
            "WHERE id = %s AND password = %s AND disabled_at IS NULL",
            (account.id, account.password),
        )
        if not stands.rowcount:
            return None
        # Those that ended long ago are of no use to anybody.
        await conn.execute(
            "DELETE FROM user_session WHERE user_id = %s AND coalesce(ended_at, ends_at) < now() - "
            "interval '30 days'",
            (account.id,),
        )
        made = await conn.execute(
            "INSERT INTO user_session (tenant_id, user_id, ends_at, address, user_agent) "
            "VALUES (%s, %s, now() + %s, %s, %s) RETURNING id",
            (account.tenant_id, account.id, SESSION_FOR, *client),
        )
        (session_id,) = await made.fetchone() or (UUID(int=0),)
        expires_at = await _add_token(conn, account.tenant_id, session_id, digest)
        return Started(session_id, expires_at)


async def refresh_session(conn: Connection, digest: bytes, successor: bytes) -> Refreshed | None:
    """Exchange a refresh token for its successor, or end its session; None: there is no such.

    All digests. Whoever comes second waits for the first, and then sees what it did.
    """
    async with conn.transaction():
        # Locked by a statement of its own: the next one then sees the tokens as they are.
        locked = await conn.execute(
            "SELECT id FROM user_session WHERE id = "
            "(SELECT session_id FROM refresh_token WHERE digest = %s) FOR UPDATE",
            (digest,),
        )
        (session_id,) = await locked.fetchone() or (None,)
        found = await conn.execute(_PRESENTED, (digest,))
        row = await found.fetchone()
        if row is None or session_id is None:
            return None
        shown, now, principal = Presented(*row[:7]), row[7], _principal(*row[8:])
        verdict = judge(shown, successor, now)
        expires_at = shown.expires_at
        if verdict == "rotate":
            await conn.execute(
                "UPDATE refresh_token SET spent_at = %s, successor = %s WHERE digest = %s",
                (now, successor, digest),
            )
            expires_at = await _add_token(conn, principal.tenant_id, session_id, successor)
            await _tidy(conn, session_id)
        elif verdict == "repeat":
            expires_at = shown.successor_expires_at or now
        elif verdict == "reused":
            await conn.execute(
                "UPDATE user_session SET ended_at = %s, ended_reason = 'reused' WHERE id = %s",
                (now, session_id),
            )
        return Refreshed(verdict, principal, expires_at)


async def token_owner(conn: Connection, digest: bytes) -> Principal | None:
    """Whose refresh token this is, spent or not; None once its session is over."""
    found = await conn.execute(
        "SELECT session_id FROM refresh_token WHERE digest = %s AND expires_at > now()", (digest,)
    )
    row = await found.fetchone()
    return None if row is None else await session_principal(conn, row[0])


async def list_sessions(conn: Connection, tenant_id: int, user_id: int) -> list[SessionInfo]:
    """The sessions a user has open, the latest first."""
    found = await conn.execute(
        "SELECT s.id, s.started_at, s.refreshed_at, s.ends_at, s.address, s.user_agent "
        "FROM user_session s WHERE s.tenant_id = %s AND s.user_id = %s AND s.ended_at IS NULL "
        "AND s.ends_at > now() AND EXISTS (SELECT FROM refresh_token r WHERE r.session_id = s.id "
        "AND r.spent_at IS NULL AND r.expires_at > now()) ORDER BY s.started_at DESC, s.id",
        (tenant_id, user_id),
    )
    return [SessionInfo(*row) async for row in found]


async def end_session(conn: Connection, tenant_id: int, user_id: int, session_id: UUID) -> bool:
    """End one session of a user; False when there is none of theirs that goes on."""
    done = await conn.execute(
        "UPDATE user_session SET ended_at = now(), ended_reason = 'signed_out' "
        "WHERE tenant_id = %s AND user_id = %s AND id = %s AND ended_at IS NULL",
        (tenant_id, user_id, session_id),
    )
    return done.rowcount > 0


async def session_principal(conn: Connection, session_id: UUID) -> Principal | None:
    """Whom a session stands for now, None once it is over or its user disabled."""
    found = await conn.execute(
        "SELECT s.id, s.tenant_id, t.name, u.role, u.email, u.id, u.party "
        "FROM user_session s "
        "JOIN user_account u ON u.id = s.user_id JOIN tenant t ON t.id = s.tenant_id "
        "WHERE s.id = %s AND s.ended_at IS NULL AND s.ends_at > now() AND u.disabled_at IS NULL",
        (session_id,),
    )
    row = await found.fetchone()
    return None if row is None else _principal(*row)


def _principal(*row: Any) -> Principal:  # noqa: ANN401 -- a row
    session_id, tenant_id, tenant, role, email, user_id, party = row
    return Principal(
        tenant_id, tenant, role, None, email, user_id, session_id=session_id, party=party
    )


async def _add_token(conn: Connection, tenant_id: int, session_id: UUID, digest: bytes) -> datetime:
    made = await conn.execute(
        "INSERT INTO refresh_token (digest, tenant_id, session_id, expires_at) "
        "SELECT %s, %s, id, least(now() + %s, ends_at) FROM user_session WHERE id = %s "
        "RETURNING expires_at",
        (digest, tenant_id, TOKEN_FOR, session_id),
    )
    expires_at: datetime = (await made.fetchone() or (None,))[0]
    return expires_at


async def _tidy(conn: Connection, session_id: UUID) -> None:
    await conn.execute("UPDATE user_session SET refreshed_at = now() WHERE id = %s", (session_id,))
    # Expired ones are refused for that alone.
    await conn.execute(
        "DELETE FROM refresh_token WHERE session_id = %s AND expires_at < now()", (session_id,)
    )
