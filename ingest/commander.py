"""Publishes queued commands, a part of each ingest worker: it has the session they go through.

Any number of workers: a command is taken by one of them for a while (`SKIP LOCKED` and a lease),
published, and noted as sent after the broker's PUBACK. Killed in between it is published again by
whoever finds the lease over, so a device may get a command twice, under one id, and never not.
"""

import asyncio
import logging
from contextlib import suppress

from ingest.announce import event_announcements
from ingest.mqtt import Session
from tracking.broker_access import native_topics
from tracking.commands import Downlink, downlink_message
from tracking.errors import BrokerError
from tracking.feed import Publisher
from tracking.store.commands import downlinks_sent, downlinks_unsent, take_downlinks
from tracking.store.persistence import Store

logger = logging.getLogger(__name__)

_AT_ONCE = 200
# A notice may be lost, and a lease ends without one.
_LOOK_EVERY_S = 1.0
# Well within a lease, so that nobody else publishes meanwhile.
_PUBACK_S = 5.0


class Commander:
    """One task runs `run`; `wake` says that there may be something to send.

    `sent` counts the commands the broker took from here.
    """

    def __init__(
        self, database_url: str, name: str, session: Session, publisher: Publisher
    ) -> None:
        self._database_url = database_url
        self._name = name
        self._session = session
        self._publisher = publisher
        self._woken = asyncio.Event()
        self.sent = 0

    def wake(self) -> None:
        """Look now rather than within a second."""
        self._woken.set()

    async def run(self) -> None:
        """Send what is queued, for ever."""
        async with Store(self._database_url, self._name) as store:
            while True:
                self._woken.clear()
                await self._session.connected.wait()
                while await self._send_some(store):
                    pass
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_EVERY_S):
                        await self._woken.wait()

    async def _send_some(self, store: Store) -> bool:
        """Send one command of each device that has some; whether there may be more."""
        taken = await store.insist(lambda conn: take_downlinks(conn, _AT_ONCE))
        if not taken:
            return False
        done = await asyncio.gather(*map(self._publish, taken))
        sent = [downlink.id for downlink, has in zip(taken, done, strict=True) if has]
        unsent = [downlink.id for downlink, has in zip(taken, done, strict=True) if not has]
        self.sent += len(sent)
        if sent:
            events = await store.insist(lambda conn: downlinks_sent(conn, sent))
            await self._publisher.publish(event_announcements(events))
        if unsent:
            await store.insist(lambda conn: downlinks_unsent(conn, unsent))
        return not unsent

    async def _publish(self, downlink: Downlink) -> bool:
        """Whether the broker has it for certain."""
        (topic,) = native_topics(f"{downlink.tenant}/{downlink.device}").subscribe
        try:
            await self._session.publish(topic, downlink_message(downlink), timeout_s=_PUBACK_S)
        except BrokerError as exc:
            logger.warning("command %s waits: %s", downlink.id, exc)
            return False
        return True
