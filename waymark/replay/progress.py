"""A progress bar on stderr: share of the file, readings a second, time left."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress


class Progress:
    """A context manager around one bar at a time; silent where `shown` is False."""

    def __init__(self, *, shown: bool) -> None:
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[readings]:,} readings, {task.fields[rate]:,.0f}/s"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not shown,
        )
        self._task: TaskID | None = None
        self._began = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def begin(self, what: str, total: int) -> None:
        """Start over with a new bar."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(what, total=total, readings=0, rate=0.0)
        self._began = time.monotonic()

    def at(self, done: int, readings: int) -> None:
        """`done` of the total is behind us, with this many readings."""
        if self._task is not None:
            rate = readings / max(time.monotonic() - self._began, 1e-3)
            self._bar.update(self._task, completed=done, readings=readings, rate=rate)
