"""The keys that sign access tokens: of all tenants, and of every api process."""

from tracking.store.connection import Connection
from tracking.tokens import SigningKey

# Never taken by anything else in this database.
_LOCK = 0x776D_7369_676E


async def list_signing_keys(conn: Connection) -> list[SigningKey]:
    """All that may have signed a token that is still good."""
    found = await conn.execute(
        "SELECT kid, public, sealed, extract(epoch FROM made_at)::float8 FROM signing_key "
        "ORDER BY made_at"
    )
    return [SigningKey(*row) async for row in found]


async def add_signing_key(conn: Connection, key: SigningKey, seen: list[str]) -> bool:
    """Keep a new key, unless somebody else was first: there is one that was not `seen`."""
    async with conn.transaction():
        await conn.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        done = await conn.execute(
            "INSERT INTO signing_key (kid, public, sealed, made_at) "
            "SELECT %s, %s, %s, to_timestamp(%s) "
            "WHERE NOT EXISTS (SELECT FROM signing_key WHERE kid <> ALL(%s))",
            (*key, seen),
        )
        return done.rowcount > 0


async def drop_signing_keys(conn: Connection, kids: list[str]) -> None:
    """Forget keys whose last token has ended."""
    await conn.execute("DELETE FROM signing_key WHERE kid = ANY(%s)", (kids,))
