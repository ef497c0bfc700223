"""Several workers on one plain subscription: each receives everything and stores its share.

For brokers that forget shared subscriptions when they restart (Mosquitto 2.0 does, though it keeps
plain ones): whatever is published before the workers are back would be acknowledged and dropped.
The price is that the broker sends every message to every worker.

A worker may leave a message to another only if that one receives it too. So it stores everything
until it knows that all sessions exist and that what was queued for it before has gone by; both
are remembered in the database, so later starts share the work at once.
"""

from collections.abc import Sequence
from zlib import crc32

from ingest.mqtt import Message
from tracking.store.connection import Connection
from tracking.store.workers import note_sharing, note_subscribed

_MAX_TOPICS = 131_072


class Split:
    """This worker's share of the devices; `index` of `workers`. One task uses it."""

    def __init__(self, index: int, workers: int) -> None:
        self.index = index
        self.workers = workers
        self.active = False
        self._mine: dict[bytes, bool] = {}
        self._all_subscribed = False

    @property
    def alone(self) -> bool:
        """Whether there is nobody to share with."""
        return self.workers == 1

    def mine(self, messages: Sequence[Message]) -> list[Message]:
        """The messages this worker is to store. All of one device go to one worker."""
        if not self.active:
            return list(messages)
        known = self._mine
        if len(known) > _MAX_TOPICS:
            known.clear()
        out = []
        for message in messages:
            topic = message.topic
            mine = known.get(topic)
            if mine is None:
                # The channel is left out, so that a device is one worker's with all it says.
                device = topic.rpartition(b"/")[0] or topic
                mine = known[topic] = crc32(device) % self.workers == self.index
            if mine:
                out.append(message)
        return out

    async def look(self, conn: Connection, *, drained: bool) -> None:
        """Become active when that is safe. Call after subscribing, now and then until then.

        `drained` says that nothing the broker had queued for us is left.
        """
        if self.active or self.alone:
            return
        if self._all_subscribed and drained:
            await note_sharing(conn, self.index, self.workers)
            self.active = True
            return
        # What is drained before all have subscribed proves nothing, so one look is not enough.
        self._all_subscribed, self.active = await note_subscribed(conn, self.index, self.workers)
