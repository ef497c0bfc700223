"""Learning from what was driven, a part of the monitor and of `waymark eta train`.

A version is a function of the one before it and of the events behind its cursor. It is written in
one piece, so whoever is killed has lost only time: the next begins where the last version ended.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Literal, NamedTuple

from tracking.errors import ModelUnreadable
from tracking.eta.lessons import Learned, learn
from tracking.settings import Settings
from tracking.store.connection import Connection
from tracking.store.driven import driven_after
from tracking.store.eta_models import (
    engine_of,
    line_of,
    list_models,
    move_version,
    save_version,
    sole_trainer,
    tenants_to_train,
)
from tracking.store.events import feed_cursor
from tracking.store.persistence import Store

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 30.0
# Trips and legs of one slice: some 50 ms in a thread, during which the other loops go on.
_AT_ONCE = 20
# Learning leaves room for what happens now: so much of the time is left to others.
_PAUSE = 0.5

Author = Literal["monitor", "train"]
Step = Callable[[Learned, int], None]


class Trained(NamedTuple):
    """What training came to; `version` is the new one, None where there was nothing to add."""

    version: int | None
    learned: Learned
    upto: int
    bytes_n: int


async def train(
    conn: Connection,
    tenant_id: int,
    made_by: Author,
    *,
    from_scratch: bool = False,
    pause: float = 0.0,
    step: Step | None = None,
) -> Trained | None:
    """Learn what is new and save it as a version; None: somebody else is at it.

    `pause` is the part of the time left to others. `step` is told what a slice came to and up to
    which cursor it went.

    Raises:
        ModelUnreadable: what was learned before cannot be read; the message says what to do.
    """
    async with sole_trainer(conn, tenant_id) as sole:
        if not sole:
            return None
        line = await line_of(conn, tenant_id, anew=from_scratch)
        engine, cursor = await engine_of(conn, tenant_id, line), line.upto
        upto, learned = await feed_cursor(conn, tenant_id), Learned()
        while cursor < upto:
            began_s = time.monotonic()
            slice_ = await driven_after(conn, tenant_id, cursor, upto, _AT_ONCE)
            done = await asyncio.to_thread(learn, engine, slice_.lessons)
            learned.add(done)
            cursor = slice_.upto
            if step is not None:
                step(done, cursor)
            await asyncio.sleep((time.monotonic() - began_s) * pause / (1.0 - pause))
        if line.version and not learned.any:
            await move_version(conn, tenant_id, line.version, cursor)
            return Trained(None, learned, cursor, 0)
        if not learned.seen and not await list_models(conn, tenant_id):
            return Trained(None, learned, cursor, 0)
        line = line._replace(
            upto=cursor, trips=line.trips + learned.trips, fixes=line.fixes + learned.fixes
        )
        saved = await asyncio.to_thread(engine.save)
        version = await save_version(conn, tenant_id, line, saved, made_by=made_by)
        return Trained(version, learned, cursor, len(saved))


class Training:
    """Training as a task of the monitor, ended by cancelling it."""

    def __init__(self, settings: Settings) -> None:
        self._database_url = settings.database_url.get_secret_value()
        self._every_s = settings.eta_train_every_s

    async def follow(self) -> None:
        """Train whoever has driven, for ever."""
        if not self._every_s:
            return
        async with Store(self._database_url, "waymark-training") as store:
            while True:
                await store.insist(self.turn)
                await asyncio.sleep(min(_LOOK_EVERY_S, self._every_s))

    async def turn(self, conn: Connection) -> None:
        """Train every tenant that is due."""
        for tenant_id, tenant in await tenants_to_train(conn, self._every_s):
            try:
                done = await train(conn, tenant_id, "monitor", pause=_PAUSE)
            except ModelUnreadable as exc:
                logger.error("training %s: %s", tenant, exc)  # noqa: TRY400 -- it says what to do
                continue
            except (ArithmeticError, LookupError, TypeError, ValueError):
                # A fault in learning ends neither the other loops nor the training of others.
                logger.exception("training %s", tenant)
                continue
            if done is not None and done.version is not None:
                logger.info(
                    "training %s: version %d, %d trips and %d legs more",
                    tenant, done.version, done.learned.trips, done.learned.legs,
                )  # fmt: skip
