"""What several processes let in, summed up in Redis; see `tracking.rates` for who decides."""

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from typing import Self

from redis.exceptions import NoScriptError

from tracking.feed.link import LINK_ERRORS, TIMEOUT_S, backoff_s, connector
from tracking.rates import Charge, Rates

logger = logging.getLogger(__name__)

# What others let in is known this much later; a busy process asks ten times a second.
_TELL_EVERY_S = 0.1
_IN_ONE_CALL = 1_000

# Of each key: when its quota is whole again, by Redis' clock, in microseconds. Adds what was used
# and returns how far away that is.
_SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local away = {}
for i, key in ipairs(KEYS) do
    local whole = math.max(tonumber(redis.call('GET', key) or now), now) + tonumber(ARGV[i])
    redis.call('SET', key, string.format('%.0f', whole), 'PX', math.ceil((whole - now) / 1000) + 1)
    away[i] = string.format('%.0f', whole - now)
end
return away
"""
_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


class SharedRates:
    """Tells Redis what `rates` let in, and `rates` what all processes did.

    An async context manager, entered once. Redis being away is no error.
    """

    def __init__(self, redis_url: str, rates: Rates) -> None:
        self.rates = rates
        self._connection = connector(redis_url)()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="feed.rates")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._connection.disconnect(nowait=True)

    async def _run(self) -> None:
        delays = backoff_s()
        away = False
        while True:
            await asyncio.sleep(next(delays) if away else _TELL_EVERY_S)
            charges = self.rates.charges()
            try:
                for start in range(0, len(charges), _IN_ONE_CALL):
                    part = charges[start : start + _IN_ONE_CALL]
                    self.rates.settle(part, await self._tell(part))
            except LINK_ERRORS as exc:
                self.rates.restore(charges)
                await self._connection.disconnect(nowait=True)
                if not away:
                    logger.warning("redis is away, each process limits rates by itself: %s", exc)
                away = True
            else:
                if away and charges:
                    away, delays = False, backoff_s()

    async def _tell(self, charges: Sequence[Charge]) -> list[float]:
        """Charge in one call; the seconds until each quota is whole again."""
        # The braces keep them on one node of a cluster, as one script asks.
        keys = [f"{{wm:rate}}:{charge.kind}:{charge.who}" for charge in charges]
        used = [str(round(charge.used_s * 1e6)) for charge in charges]
        async with asyncio.timeout(TIMEOUT_S):
            try:
                found = await self._command("EVALSHA", _SHA, len(keys), *keys, *used)
            except NoScriptError:
                found = await self._command("EVAL", _SCRIPT, len(keys), *keys, *used)
        return [int(away) / 1e6 for away in found]

    async def _command(self, *words: str | int) -> list[bytes]:
        await self._connection.send_command(*words)
        answer: list[bytes] = await self._connection.read_response()
        return answer
