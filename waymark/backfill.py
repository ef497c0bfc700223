"""`waymark backfill`: recordings brought in as history, without a broker and without alarms."""

# ruff: noqa: PLC0415  -- psycopg and the readers are imported when needed

import asyncio
import json
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from tracking.backfills import Cut, Cutter
from tracking.errors import InputError
from waymark.replay.source import Format
from waymark.terminal import DEFAULT_DATA_DIR, AsJson, DataDir, err, out, set_up

if TYPE_CHECKING:
    from uuid import UUID

    from tracking.store.backfills import Backfill
    from tracking.store.connection import Connection
    from waymark.replay.dispatch import TableOptions

_AUTHOR = "waymark backfill"
_LINES = {".ndjson", ".jsonl"}
_LOOK_EVERY_S = 0.5
_PIECE_BYTES = 65_536
T = TypeVar("T")


def backfill(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="GPX, GeoJSON, CSV (each also .gz or .zip), OwnTracks .rec, or .ndjson lines",
            show_default=False,
        ),
    ],
    *,
    file_format: Annotated[
        Format | None, typer.Option("--format", help="Read the files as this format")
    ] = None,
    mapping: Annotated[
        str | None, typer.Option(help="Column mapping, as of `waymark replay`")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Zone of times without one, such as Africa/Cairo")
    ] = None,
    device: Annotated[str | None, typer.Option(help="One device for every row")] = None,
    device_prefix: Annotated[str, typer.Option(help="Put before each device's name")] = "",
    tenant: Annotated[str, typer.Option(help="Whose devices")] = "default",
    alerts: Annotated[
        bool, typer.Option("--alerts", help="Let rules judge the events it brings about")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Stay until the monitor has worked it in")
    ] = True,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Bring recordings in as history, of whatever age.

    Readings are stored and folded where they belong, like those of the devices themselves, by
    `waymark monitor`; events they bring about are marked. The same files again change nothing.

    For example:

        waymark backfill archive/*.gpx --device van-7
    """
    from tracking.store.connection import connect
    from waymark.replay.dispatch import TableOptions
    from waymark.replay.named import load

    options = TableOptions(
        mapping=None if mapping is None else load(mapping), timezone=timezone, device=device
    )
    settings = set_up(data_dir)
    with asyncio.Runner() as runner:
        conn = runner.run(connect(settings.database_url.get_secret_value(), name=_AUTHOR))
        try:
            sink = _Sink(runner, conn, tenant, alerts=alerts)
            _send(files, file_format, options, sink, device_prefix)
            found = runner.run(_follow(conn, sink, shown=not as_json, wait=wait))
        finally:
            runner.run(conn.close())
    _print(found, as_json=as_json)


class _Sink:
    """Where a replay publishes to: lines of a backfill."""

    def __init__(
        self, runner: asyncio.Runner, conn: "Connection", tenant: str, *, alerts: bool
    ) -> None:
        from tracking.store.backfills import begin_backfill

        self._runner = runner
        self._conn = conn
        self._cutter = Cutter(alerts=alerts)
        self.tenant_id = self._run(_tenant_id(conn, tenant))
        self.id: UUID = self._run(begin_backfill(conn, self.tenant_id, _AUTHOR, alerts=alerts))
        self.acknowledged = 0
        self.refused = 0

    def publish(self, topic: str, payload: bytes) -> bool:
        """Add one message as a line."""
        _, _, device, channel = topic.split("/")
        name = json.dumps(device).encode()
        self.add(b'{"device":%b,"%b":%b}\n' % (name, channel.encode(), payload))
        self.acknowledged += 1
        return True

    def add(self, piece: bytes) -> None:
        """Add bytes of lines."""
        self._keep(self._cutter.feed(piece))

    def idle(self, seconds: float) -> None:
        """Nothing is paced."""

    def drain(self) -> bool:
        """Everything is kept at once."""
        return True

    def finish(self) -> None:
        """Have it worked in.

        Raises:
            InputError: there was nothing.
        """
        from tracking.store.backfills import queue_backfill

        self._keep(self._cutter.end())
        if not self._cutter.lines:
            raise InputError("there are no readings in these files")
        queued = queue_backfill(
            self._conn,
            self.tenant_id,
            self.id,
            lines=self._cutter.lines,
            digest=self._cutter.digest,
        )
        self.id, _ = self._run(queued)

    def _keep(self, cut: Cut | None) -> None:
        from tracking.store.backfills import add_part

        if cut is not None:
            self._run(add_part(self._conn, self.tenant_id, self.id, **cut._asdict()))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(_translated(work))


async def _translated(work: Coroutine[Any, Any, T]) -> T:
    from tracking.store.connection import translated

    with translated():
        return await work


async def _tenant_id(conn: "Connection", tenant: str) -> int:
    from tracking.store.registry import tenant_ids

    tenants = await tenant_ids(conn)
    if tenant not in tenants:
        known = ", ".join(sorted(tenants)[:10])
        raise InputError(f"there is no tenant {tenant!r}; there are: {known}")
    return tenants[tenant]


def _send(
    files: list[Path],
    file_format: Format | None,
    options: "TableOptions",
    sink: _Sink,
    prefix: str,
) -> None:
    from waymark.replay.progress import Progress
    from waymark.replay.session import Plan, Replay
    from waymark.replay.source import find

    lines = [file for file in files if file.suffix in _LINES and file_format is None]
    recordings = find([file for file in files if file not in lines], file_format)
    shown = Progress(shown=sys.stderr.isatty())
    run: Replay = Replay(recordings, options, Plan(device_prefix=prefix), sink, progress=shown)
    run.check_headers()
    for file in lines:
        _send_lines(file, sink)
    with shown:
        run.run()
    sink.finish()


def _send_lines(file: Path, sink: _Sink) -> None:
    try:
        with file.open("rb") as source:
            last = b"\n"
            while piece := source.read(_PIECE_BYTES):
                sink.add(piece)
                last = piece
            if not last.endswith(b"\n"):
                sink.add(b"\n")
    except OSError as exc:
        raise InputError(f"{file} cannot be read: {exc.strerror}", field="file") from exc


async def _follow(conn: "Connection", sink: _Sink, *, shown: bool, wait: bool) -> "Backfill":
    """Wait until it is worked in, and tell how far it is."""
    from tracking.store.backfills import get_backfill

    bar = RichProgress(
        TextColumn("working in"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not (shown and sys.stderr.isatty()),
    )
    began_s, warned = time.monotonic(), False
    with bar:
        task = bar.add_task("", total=None)
        while True:
            found = await get_backfill(conn, sink.tenant_id, sink.id)
            assert found is not None  # noqa: S101 -- nobody removes it
            bar.update(task, total=found.lines, completed=found.done_lines)
            if found.state == "done" or not wait:
                return found
            if found.state == "queued" and not warned and time.monotonic() - began_s > 10:
                err.print("nobody works on it: is `waymark monitor` running?", highlight=False)
                warned = True
            await asyncio.sleep(_LOOK_EVERY_S)


def _print(found: "Backfill", *, as_json: bool) -> None:
    import msgspec

    if as_json:
        out.print_json(msgspec.json.encode(found).decode())
        return
    out.print(
        f"backfill {found.id} is {found.state}: {found.readings:,} readings, {found.stored:,} "
        f"stored, {found.duplicate:,} there already, {found.rejected:,} rejected",
        highlight=False,
        soft_wrap=True,
    )
    for reason, n in found.reasons.items():
        out.print(f"  rejected: {n:,} {reason}", highlight=False)
