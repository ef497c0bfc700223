"""Requests that must happen once, under the key their sender chose.

A claim is an attempt at such a request. While a task holds one, what it writes is written in one
transaction with a mark on the claim, and only if nobody took the claim over. So an attempt that
died before it wrote may be repeated, and one that wrote never is, whether or not its answer was
kept.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID, uuid4

from tracking.errors import Conflict
from tracking.store.connection import Connection

# No attempt takes longer: each query ends after 13 s, and the largest import after less than 60.
LEASE_S = 120
KEPT_S = 86_400
_FORGOTTEN_AT_ONCE = 100


@dataclass(slots=True, eq=False)
class Claim:
    """One attempt at a request. `wrote` tells whether it has committed anything."""

    tenant_id: int
    principal: str
    key_digest: bytes
    attempt: UUID = field(default_factory=uuid4)
    wrote: bool = False

    @property
    def row(self) -> tuple[int, str, bytes]:
        """The key of its row."""
        return self.tenant_id, self.principal, self.key_digest


class Earlier(NamedTuple):
    """An earlier attempt under the same key. `answer` is sealed; None while there is none."""

    same_request: bool
    running: bool
    wrote: bool
    answer: bytes | None


_held: ContextVar[Claim | None] = ContextVar("claim", default=None)


def hold(claim: Claim | None) -> None:
    """Have what this task writes from here on count for a claim, or for none."""
    _held.set(claim)


def digest_of(key: str) -> bytes:
    """What is kept of a key; it tells nothing of how to open the answer."""
    return sha256(b"waymark:idempotency-key:" + key.encode()).digest()


async def take(conn: Connection, claim: Claim, fingerprint: bytes) -> Earlier | None:
    """Take a claim; None: it is ours. Else what there is under its key.

    What another attempt left without having written anything is taken over once its time is up.
    """
    await conn.execute(
        "DELETE FROM idempotency_key WHERE (tenant_id, principal, key_digest) IN ("
        "SELECT tenant_id, principal, key_digest FROM idempotency_key "
        "WHERE tenant_id = %s AND claimed_at < now() - %s * interval '1 second' "
        "ORDER BY claimed_at LIMIT %s FOR UPDATE SKIP LOCKED)",
        (claim.tenant_id, KEPT_S, _FORGOTTEN_AT_ONCE),
    )
    taken = await conn.execute(
        "INSERT INTO idempotency_key AS k (tenant_id, principal, key_digest, fingerprint, attempt) "
        "VALUES (%s, %s, %s, %s, %s) ON CONFLICT (tenant_id, principal, key_digest) DO UPDATE "
        "SET attempt = excluded.attempt, claimed_at = now() "
        "WHERE k.answer IS NULL AND NOT k.wrote AND k.fingerprint = excluded.fingerprint "
        "AND k.claimed_at < now() - %s * interval '1 second' RETURNING true",
        (*claim.row, fingerprint, claim.attempt, LEASE_S),
    )
    if await taken.fetchone():
        return None
    found = await conn.execute(
        "SELECT fingerprint = %s, claimed_at >= now() - %s * interval '1 second', wrote, answer "
        "FROM idempotency_key WHERE tenant_id = %s AND principal = %s AND key_digest = %s",
        (fingerprint, LEASE_S, *claim.row),
    )
    row = await found.fetchone()
    if row is None:
        # Given up since: whoever asks again will have it.
        return Earlier(same_request=True, running=True, wrote=False, answer=None)
    return Earlier(*row)


async def keep_answer(conn: Connection, claim: Claim, answer: bytes) -> None:
    """Keep the sealed answer of an attempt for whoever asks again."""
    await conn.execute(
        "UPDATE idempotency_key SET answer = %s WHERE attempt = %s", (answer, claim.attempt)
    )


async def give_up(conn: Connection, claim: Claim) -> None:
    """Free the key of an attempt that came to nothing; one that wrote keeps it."""
    await conn.execute(
        "DELETE FROM idempotency_key WHERE attempt = %s AND NOT wrote", (claim.attempt,)
    )


@asynccontextmanager
async def once(conn: Connection) -> AsyncIterator[None]:
    """One transaction for what the held claim writes, and its mark; without a claim nothing.

    Raises:
        Conflict: nothing was written, as it would have been twice.
    """
    claim = _held.get()
    if claim is None:
        yield
        return
    async with conn.transaction():
        # A commit whose answer was lost with its connection shows here, when it is run again.
        found = await conn.execute(
            "SELECT wrote FROM idempotency_key WHERE attempt = %s", (claim.attempt,)
        )
        if await found.fetchone() != (claim.wrote,):
            raise Conflict("this request was carried out, but its answer was lost")
        yield
        found = await conn.execute("SELECT pg_current_xact_id_if_assigned() IS NOT NULL")
        wrote = await found.fetchone() == (True,)
        if wrote:
            marked = await conn.execute(
                "UPDATE idempotency_key SET wrote = true WHERE attempt = %s", (claim.attempt,)
            )
            if marked.rowcount != 1:
                raise Conflict("this request was taken over by another attempt")
    claim.wrote |= wrote
