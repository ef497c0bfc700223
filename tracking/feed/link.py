"""One raw connection to Redis or Valkey, without the driver's silent reconnects.

The driver's own pub/sub object reconnects and resubscribes by itself, which hides exactly what a
subscriber must know: that messages may have been missed. Both ends here therefore hold a plain
connection and decide themselves when it is gone.
"""

import asyncio
import random
from collections.abc import Callable, Iterator

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import RedisError

from tracking.errors import SettingsError

# One round trip on a healthy link is well below 1 ms; nobody waits longer than this for one.
TIMEOUT_S = 1.0
LINK_ERRORS = (RedisError, OSError, TimeoutError)


def connector(redis_url: str) -> Callable[[], AbstractConnection]:
    """What makes connections to a `redis://`, `rediss://` or `unix://` URL; making sends nothing.

    Raises:
        SettingsError: the URL cannot be understood.
    """
    # RESP2 keeps pub/sub messages in the stream of replies; sending no library name saves two
    # round trips at each connect.
    try:
        pool = ConnectionPool.from_url(
            redis_url,
            protocol=2,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            driver_info=None,
        )
    except ValueError as exc:
        raise SettingsError(f"WAYMARK_REDIS_URL cannot be used: {exc}".partition("\n")[0]) from exc
    make: Callable[[], AbstractConnection] = pool.make_connection
    return make


def backoff_s() -> Iterator[float]:
    """Endless delays between attempts, with jitter so that a fleet of processes spreads out."""
    delay_s = 0.1
    while True:
        yield delay_s * random.uniform(0.5, 1.0)  # noqa: S311 -- jitter, not a secret
        delay_s = min(delay_s * 2, 5.0)


async def ping(redis_url: str) -> str:
    """`ok`, or `away` when Redis does not answer within a second. For health checks."""
    connection = connector(redis_url)()
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await connection.send_command("PING")
            await connection.read_response()
    except LINK_ERRORS:
        return "away"
    finally:
        await connection.disconnect(nowait=True)
    return "ok"
