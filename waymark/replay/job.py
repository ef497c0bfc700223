"""Runs one replay from files to summary: broker, progress, interrupts, output."""

import contextlib
import io
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import typer

from tracking.errors import InputError
from tracking.settings import load_settings
from waymark.replay.dispatch import TableOptions
from waymark.replay.progress import Progress
from waymark.replay.publish import Publisher, parse_url
from waymark.replay.session import Plan, Preview, Replay, Sink
from waymark.replay.source import Format, find
from waymark.replay.summary import lines


@dataclass(frozen=True, slots=True)
class Job:
    """Everything a replay was asked to do."""

    files: tuple[Path, ...]
    table: TableOptions
    plan: Plan
    file_format: Format | None = None
    mqtt_url: str | None = None
    window: int = 1_000
    check: bool = False
    show: int = 0
    as_json: bool = False
    rejects: Path | None = None


def execute(job: Job) -> bool:
    """Replay, and print the summary, also when an error ends it; False when interrupted.

    Raises:
        InputError: a file or an option cannot be used.
        BrokerError: the broker refused us or stayed away.
    """
    recordings = find(job.files, job.file_format)
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(_interrupts())
        shown = sys.stderr.isatty() and not job.as_json
        progress = Progress(shown=shown)
        preview = Preview(job.show)
        sink: Sink = preview if job.check else _publisher(job, stop)
        run = Replay(
            recordings,
            job.table,
            job.plan,
            sink,
            progress=progress,
            rejects=_rejects(job.rejects, stack),
            stop=stop,
        )
        # Whatever the user got wrong should show before the first message leaves.
        run.check_headers()
        if isinstance(sink, Publisher):
            stack.enter_context(sink)
        try:
            with progress:
                run.run()
        finally:
            _print(job, run.tally.summary(), preview.messages)
    return run.tally.stopped is None


def _publisher(job: Job, stop: Callable[[], bool]) -> Publisher:
    settings = load_settings()
    broker = parse_url(
        job.mqtt_url or settings.mqtt_url.get_secret_value(),
        settings.mqtt_ca_file,
        settings.mqtt_cert_file,
        settings.mqtt_key_file,
    )
    return Publisher(broker, window=job.window, stop=stop)


def _rejects(path: Path | None, stack: contextlib.ExitStack) -> io.TextIOBase | None:
    if path is None:
        return None
    try:
        return stack.enter_context(path.open("w", encoding="utf-8", newline=""))
    except OSError as exc:
        raise InputError(f"{path} cannot be written: {exc.strerror}", field="rejects") from exc


@contextlib.contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Yield what says whether to stop; the first SIGINT or SIGTERM asks to, the second kills."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, _frame: FrameType | None) -> None:
        asked.set()
        signal.signal(number, signal.SIG_DFL)

    for number in previous:
        signal.signal(number, ask)
    try:
        yield asked.is_set
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _print(job: Job, summary: dict[str, object], messages: list[tuple[str, bytes]]) -> None:
    if job.as_json:
        if job.show:
            summary["messages"] = [
                {"topic": topic, "payload": json.loads(payload)} for topic, payload in messages
            ]
        typer.echo(json.dumps(summary))
        return
    for topic, payload in messages:
        typer.echo(f"{topic} {payload.decode()}")
    for line in lines(summary, published=not job.check):
        typer.echo(line)
