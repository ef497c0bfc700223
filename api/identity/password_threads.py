"""Hashing of passwords beside the event loop, few at once."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from api.conventions.problems import Problem

T = TypeVar("T")

# A hash is 70 ms of one core and 46 MiB. Half of the cores are left to everything else.
_THREADS = max(1, (os.cpu_count() or 2) // 2)
# At most so many wait: the last for about two seconds.
_WAITING = 30 * _THREADS


class PasswordThreads:
    """Runs what takes long, in its turn; whoever comes when too many wait is sent away."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="password")
        self._waiting = 0

    def refuse_if_busy(self) -> None:
        """Send away whoever would have to wait too long.

        Raises:
            Problem: 429.
        """
        if self._waiting >= _WAITING:
            raise Problem(429, "too many sign in at this moment", headers={"Retry-After": "2"})

    async def run(self, work: Callable[..., T], *args: object) -> T:
        """Do it in a thread."""
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """End the threads; what waits is given up."""
        self._threads.shutdown(wait=False, cancel_futures=True)
