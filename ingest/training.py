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
from tracking.eta.engine import Engine
from tracking.eta.lessons import Learned, learn
from tracking.settings import Settings
from tracking.store.connection import Connection
from tracking.store.driven import driven_after
from tracking.store.eta_models import (
    base_of,
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
    """What training came to; `version` is the new one, None where there was nothing to learn."""

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
        base = None if from_scratch else await base_of(conn, tenant_id)
        engine, cursor = (Engine(), 0) if base is None else (base.engine, base.upto)
        upto, learned, seen = await feed_cursor(conn, tenant_id), Learned(), False
        while cursor < upto:
            began_s = time.monotonic()
            slice_ = await driven_after(conn, tenant_id, cursor, upto, _AT_ONCE)
            done = await asyncio.to_thread(learn, engine, slice_.lessons)
            learned.add(done)
            cursor, seen = slice_.upto, seen or bool(slice_.lessons)
            if step is not None:
                step(done, cursor)
            await asyncio.sleep((time.monotonic() - began_s) * pause / (1.0 - pause))
        if not seen or (base is not None and not learned.any):
            if base is not None:
                await move_version(conn, tenant_id, base.version, cursor)
            return Trained(None, learned, cursor, 0)
        saved = await asyncio.to_thread(engine.save)
        before = (0, 0) if base is None else (base.trips, base.fixes)
        version = await save_version(
            conn, tenant_id, made_by, cursor, before[0] + learned.trips,
            before[1] + learned.fixes, saved,
        )  # fmt: skip
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
            if done is not None and done.version is not None:
                logger.info(
                    "training %s: version %d, %d trips and %d legs more",
                    tenant, done.version, done.learned.trips, done.learned.legs,
                )  # fmt: skip
