"""Messages between the MQTT session and the pipeline: batches by count and age."""

import asyncio
from collections import deque

from ingest.mqtt import Message


class Inbox:
    """What was received and not yet taken. Its size is bounded by the session's window.

    One producer (a plain call) and one consumer (a task), on one event loop.
    """

    def __init__(self, *, batch_max: int, batch_age_s: float) -> None:
        self._batch_max = batch_max
        self._batch_age_s = batch_age_s
        self._waiting: deque[Message] = deque()
        self._first_at_s = 0.0
        self._last_at_s = 0.0
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()

    def put(self, messages: list[Message]) -> None:
        """Add what arrived."""
        self._last_at_s = asyncio.get_running_loop().time()
        if not self._waiting:
            self._first_at_s = self._last_at_s
        self._waiting.extend(messages)
        self._arrived.set()
        if len(self._waiting) >= self._batch_max:
            self._full.set()

    def quiet_s(self) -> float:
        """For how long nothing has arrived."""
        return asyncio.get_running_loop().time() - self._last_at_s

    async def take(self, *, wait_s: float | None = None) -> list[Message]:
        """The next batch: as soon as one is full, or its first message has grown old enough.

        Empty when nothing arrives for `wait_s`.

        While a batch is being stored the next one ages, so under load there is no wait and
        batches grow by themselves. It never waits for a full batch: a broker whose own window
        is smaller than a batch would wait for us in turn.
        """
        try:
            async with asyncio.timeout(wait_s):
                await self._arrived.wait()
        except TimeoutError:
            return []
        now_s = asyncio.get_running_loop().time()
        left_s = self._first_at_s + self._batch_age_s - now_s
        if left_s > 0 and len(self._waiting) < self._batch_max:
            try:
                async with asyncio.timeout(left_s):
                    await self._full.wait()
            except TimeoutError:
                pass  # old enough
        waiting = self._waiting
        batch = [waiting.popleft() for _ in range(min(len(waiting), self._batch_max))]
        self._full.clear()
        if waiting:
            # What is left has waited through this batch already.
            if len(waiting) >= self._batch_max:
                self._full.set()
        else:
            self._arrived.clear()
        return batch

    def __len__(self) -> int:
        return len(self._waiting)
