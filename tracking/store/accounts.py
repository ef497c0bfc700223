"""What signing in needs of a user: the password, the second factor, and who guesses at them."""

import hashlib
from datetime import datetime
from typing import NamedTuple

from tracking.access import Principal
from tracking.guessing import FORGET_AFTER, TRUSTED_FOR, Guesses, charge
from tracking.store.connection import Connection
from tracking.store.users import end_sessions

# Old counters removed with each new guess.
_FORGOTTEN_AT_ONCE = 100

_COLUMNS = (
    "u.id, u.tenant_id, t.name, u.email, u.name, u.role, u.password, u.disabled_at IS NOT NULL, "
    "u.totp_secret, u.totp_pending, u.totp_step, u.party "
    "FROM user_account u JOIN tenant t ON t.id = u.tenant_id"
)


class Account(NamedTuple):
    """A user with what only signing in may see; secrets of the second factor are sealed."""

    id: int
    tenant_id: int
    tenant: str
    email: str
    name: str
    role: str
    password: str | None
    disabled: bool
    totp_secret: bytes | None
    totp_pending: bytes | None
    totp_step: int
    party: str | None

    @property
    def principal(self) -> Principal:
        """Its owner, in no session."""
        return Principal(
            self.tenant_id, self.tenant, self.role, None, self.email, self.id, party=self.party
        )


async def find_account(conn: Connection, tenant: str, email: str) -> Account | None:
    """The account of this address in a tenant."""
    return await _one(conn, "t.name = %s AND u.email = %s", tenant, email)


async def get_account(conn: Connection, tenant_id: int, user_id: int) -> Account | None:
    """The account of a user."""
    return await _one(conn, "u.tenant_id = %s AND u.id = %s", tenant_id, user_id)


async def invited_account(conn: Connection, invite: bytes) -> Account | None:
    """Who may set a password with the token of this digest."""
    return await _one(
        conn, "u.invite = %s AND u.invite_expires_at > now() AND u.disabled_at IS NULL", invite
    )


async def accept_invite(conn: Connection, invite: bytes, password: str) -> bool:
    """Set the password, once."""
    done = await conn.execute(
        "UPDATE user_account SET password = %s, invite = NULL, invite_expires_at = NULL "
        "WHERE invite = %s AND invite_expires_at > now() AND disabled_at IS NULL",
        (password, invite),
    )
    return done.rowcount > 0


async def set_password(
    conn: Connection, account: Account, password: str, *, keep: object = None
) -> bool:
    """Change a password and end all sessions but the one to `keep`.

    False if it was changed since the account was read.
    """
    async with conn.transaction():
        done = await conn.execute(
            "UPDATE user_account SET password = %s, invite = NULL, invite_expires_at = NULL "
            "WHERE id = %s AND password IS NOT DISTINCT FROM %s",
            (password, account.id, account.password),
        )
        if done.rowcount:
            await end_sessions(conn, account.tenant_id, account.id, "password", but=keep)
        return done.rowcount > 0


async def rehash_password(conn: Connection, account: Account, password: str) -> None:
    """Keep the same password under the parameters of today."""
    await conn.execute(
        "UPDATE user_account SET password = %s WHERE id = %s AND password = %s",
        (password, account.id, account.password),
    )


async def offer_second_factor(conn: Connection, account: Account, sealed: bytes) -> None:
    """Keep a secret that was shown until it is confirmed; the one in use stays."""
    await conn.execute(
        "UPDATE user_account SET totp_pending = %s WHERE id = %s", (sealed, account.id)
    )


async def confirm_second_factor(
    conn: Connection, account: Account, step: int, recovery: list[bytes]
) -> bool:
    """Use the pending secret from now on; False if it is another one meanwhile."""
    done = await conn.execute(
        "UPDATE user_account SET totp_secret = totp_pending, totp_pending = NULL, totp_step = %s, "
        "recovery = %s WHERE id = %s AND totp_pending = %s",
        (step, recovery, account.id, account.totp_pending),
    )
    return done.rowcount > 0


async def remove_second_factor(conn: Connection, account: Account) -> None:
    """The password alone is enough from now on."""
    await conn.execute(
        "UPDATE user_account SET totp_secret = NULL, totp_pending = NULL, recovery = '{}' "
        "WHERE id = %s",
        (account.id,),
    )


async def spend_step(conn: Connection, account: Account, step: int) -> bool:
    """Take a code; False if it, or a later one, was taken before: of two at once one is refused."""
    done = await conn.execute(
        "UPDATE user_account SET totp_step = %s WHERE id = %s AND totp_step < %s",
        (step, account.id, step),
    )
    return done.rowcount > 0


async def spend_recovery(conn: Connection, account: Account, digest: bytes) -> bool:
    """Take a recovery code; False if it is none, or was taken."""
    done = await conn.execute(
        "UPDATE user_account SET recovery = array_remove(recovery, %(digest)s) "
        "WHERE id = %(id)s AND %(digest)s = ANY(recovery)",
        {"id": account.id, "digest": digest},
    )
    return done.rowcount > 0


async def charge_guess(conn: Connection, tenant: str, email: str, address: str) -> float:
    """Count a guess; return how many seconds it comes too early, and then it is not counted."""
    anywhere, here = _counters(tenant, email, address)
    async with conn.transaction():
        for digest in (anywhere, here):
            await conn.execute(
                "INSERT INTO sign_in_guess (digest, tenant_id, forget_at) VALUES (%s, "
                "coalesce((SELECT id FROM tenant WHERE name = %s), 0), now() + %s) "
                "ON CONFLICT (digest) DO NOTHING",
                (digest, tenant, FORGET_AFTER),
            )
        counted = {digest: await _locked(conn, digest) for digest in (anywhere, here)}
        found = await conn.execute("SELECT clock_timestamp()")
        (now,) = await found.fetchone() or (None,)
        assert isinstance(now, datetime)  # noqa: S101 -- for the type checker
        charged = charge(counted[here], counted[anywhere], now)
        if charged.wait_s > 0:
            return charged.wait_s
        for digest, guesses in ((anywhere, charged.anywhere), (here, charged.here)):
            await conn.execute(
                "UPDATE sign_in_guess SET failed = %s, retry_at = %s, "
                "forget_at = greatest(%s, trusted_until) WHERE digest = %s",
                (guesses.failed, guesses.retry_at, now + FORGET_AFTER, digest),
            )
        # Last, because who holds the rows of others must wait for nobody.
        await conn.execute(
            "DELETE FROM sign_in_guess WHERE digest IN (SELECT digest FROM sign_in_guess "
            "WHERE forget_at < now() AND digest <> ALL(%s) LIMIT %s FOR UPDATE SKIP LOCKED)",
            ([anywhere, here], _FORGOTTEN_AT_ONCE),
        )
        return 0.0


async def forgive_guesses(conn: Connection, tenant: str, email: str, address: str) -> None:
    """It was the owner: forget what was counted, and know the address from now on."""
    anywhere, here = _counters(tenant, email, address)
    async with conn.transaction():
        for digest, trusted_for in ((anywhere, None), (here, TRUSTED_FOR)):
            await conn.execute(
                "UPDATE sign_in_guess SET failed = 0, retry_at = NULL, "
                "trusted_until = now() + %(trusted)s::interval, "
                "forget_at = greatest(forget_at, now() + %(trusted)s::interval) "
                "WHERE digest = %(digest)s",
                {"digest": digest, "trusted": trusted_for},
            )


async def _one(conn: Connection, where: str, *values: object) -> Account | None:
    found = await conn.execute(
        f"SELECT {_COLUMNS} WHERE {where}",
        values,
    )
    row = await found.fetchone()
    return None if row is None else Account(*row)


async def _locked(conn: Connection, digest: bytes) -> Guesses:
    found = await conn.execute(
        "SELECT CASE WHEN forget_at > now() THEN failed ELSE 0 END, retry_at, trusted_until "
        "FROM sign_in_guess WHERE digest = %s FOR UPDATE",
        (digest,),
    )
    row = await found.fetchone()
    return Guesses() if row is None else Guesses(*row)


def _counters(tenant: str, email: str, address: str) -> tuple[bytes, bytes]:
    """Of the account, and of the account from there; always locked in this order."""
    account = f"{tenant}\n{email}"
    return (
        hashlib.sha256(account.encode()).digest(),
        hashlib.sha256(f"{account}\n{address}".encode()).digest(),
    )
