"""`waymark fence preview`: what the fences of a file would have raised, and for whom."""

# ruff: noqa: FBT002, PLC0415  -- psycopg and shapely are imported when needed; a default of False
# is how Typer spells a flag

import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from tracking.errors import InputError
from waymark.fence import Tenant, contents, run_for
from waymark.terminal import DEFAULT_DATA_DIR, DataDir, err, moment, out, set_up

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tracking.feed import EventRecord
    from tracking.fences import FenceDraft
    from tracking.preview import Progress, Question, Summary
    from tracking.store.connection import Connection

_TYPES = {
    "fence.entered": "entered",
    "fence.exited": "exited",
    "fence.dwelled": "dwelled",
    "fence.crossed": "crossed",
    "speed.exceeded": "sped",
}
_TOP_DEVICES = 10
_TOP_FENCES = 50


def preview(  # noqa: PLR0917  -- Typer passes them by name
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)],
    start: Annotated[str, typer.Option("--from", help="First time, such as 2026-03-01T00:00Z.")],
    end: Annotated[
        str | None, typer.Option("--to", help="Last time, excluded. [default: now]")
    ] = None,
    id_: Annotated[
        str | None,
        typer.Option("--id", help="Only this fence of the file; a single one gets this id."),
    ] = None,
    device: Annotated[
        list[str] | None, typer.Option(help="Only this device's history; repeat for several.")
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="Put all into this layer: fences that share borders.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="Put in front of every id.")] = "",
    format_: Annotated[
        Literal["geojson", "topojson", "kml", "kmz", "wkt"] | None,
        typer.Option("--format", help="Else told by the content."),
    ] = None,
    tenant: Tenant = "default",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print lines of JSON, as the api does.")
    ] = False,
) -> None:
    """Show what the fences of a file would have raised over a past window. Nothing is saved.

    The file is one that `waymark fence import` takes. A fence that is there already is previewed
    as edited to what the file says; a new one as new. Imported with --effective-from at the
    window's start, the fences raise the same events under the same ids.

    For example, a week at the depots, and which vehicles came:

        waymark fence preview depots.geojson --from 2026-03-01T00:00Z --to 2026-03-08T00:00Z

    An edit of the fence yard, for one vehicle:

        waymark fence preview new.kml --id yard --from 2026-03-01T00:00Z --device truck-1

    Every event, for programs:

        waymark fence preview zones.wkt --from 2026-03-01T00:00Z --json | jq -c '.event?'
    """
    from tracking.preview import Question
    from tracking.times import to_us

    start_us = to_us(moment("--from", start))
    end_us = to_us(datetime.now(UTC) if end is None else moment("--to", end))
    settings = set_up(data_dir)
    drafts = _drafts(file, id_, format_, prefix, layer)
    report = _Report(as_json=as_json)

    async def work(conn: "Connection", tenant_id: int) -> None:
        devices = None if device is None else tuple(device)
        question = Question(tenant, tenant_id, drafts, start_us, end_us, devices)
        with report.bar:
            async for item in _answer(conn, question, settings.max_speed_mps):
                report.take(item)

    run_for(settings.database_url.get_secret_value(), tenant, work)
    if not as_json:
        report.show(drafts)


async def _answer(
    conn: "Connection", question: "Question", max_speed_mps: float
) -> "AsyncIterator[Progress | EventRecord | Summary]":
    from tracking.fold import Rules
    from tracking.preview import Preview

    prepared = await Preview.prepare(conn, question, Rules(max_speed_mps=max_speed_mps))
    async for item in prepared.run():
        yield item


def _drafts(
    file: Path, id_: str | None, format_: str | None, prefix: str, layer: str | None
) -> "list[FenceDraft]":
    """The fences of the file; every fault in it is told before the first ends the command."""
    from tracking.fence_import import read_import

    bulk = read_import(
        contents(file), name=file.name, format_name=format_, prefix=prefix, layer=layer
    )
    for fault in bulk.faults[1:]:
        err.print(f"[red]refused[/]  {escape(str(fault.error))}", soft_wrap=True, highlight=False)
    if bulk.faults:
        raise bulk.faults[0].error
    if id_ is None:
        return bulk.drafts
    if len(bulk.drafts) == 1:
        draft = bulk.drafts[0]
        # A fence without a name is called as its id.
        return [replace(draft, id=id_, name=id_ if draft.name == draft.id else draft.name)]
    chosen = [draft for draft in bulk.drafts if draft.id == id_]
    if not chosen:
        raise InputError(f"--id: {file.name} has no fence {id_!r}", field="id")
    return chosen


@dataclass(slots=True)
class _Sum:
    """What one fence raised."""

    types: Counter[str] = field(default_factory=Counter)
    devices: set[str] = field(default_factory=set)
    inside_s: float = 0.0


class _Report:
    """Takes what a preview tells; shows it as lines of JSON at once, or as tables at the end."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._fences: defaultdict[str, _Sum] = defaultdict(_Sum)
        self._devices: Counter[str] = Counter()
        self._summary: Summary | None = None
        self.bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("devices, {task.fields[fixes]:,} fixes"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=as_json or not err.is_terminal,
        )
        self._task = self.bar.add_task("folding", total=None, fixes=0)

    def take(self, item: "Progress | EventRecord | Summary") -> None:
        """The next of the preview."""
        from tracking.feed import EventRecord
        from tracking.preview import Progress

        if self._as_json:
            _print_line(item)
        if isinstance(item, Progress):
            self.bar.update(
                self._task, completed=item.devices_done, total=item.devices, fixes=item.fixes
            )
        elif isinstance(item, EventRecord):
            self._count(item)
        else:
            self._summary = item

    def _count(self, event: "EventRecord") -> None:
        of_fence = self._fences[str(event.data["fence"])]
        of_fence.types[event.type] += 1
        of_fence.devices.add(event.subject)
        self._devices[event.subject] += 1
        inside_s = event.data.get("inside_s")
        if isinstance(inside_s, float):
            of_fence.inside_s += inside_s

    def show(self, drafts: "list[FenceDraft]") -> None:
        """The tables, and in one line what it took."""
        assert self._summary is not None  # noqa: S101 -- a preview that ends tells it
        self._show_fences(drafts)
        if self._devices:
            top = Table("device", "events", box=None)
            for name, n in self._devices.most_common(_TOP_DEVICES):
                top.add_row(escape(name), f"{n:,}")
            out.print(top)
        for note in self._summary.notes:
            err.print(f"[yellow]note[/]  {escape(note)}", soft_wrap=True, highlight=False)
        out.print(
            f"{self._summary.devices:,} devices, {self._summary.fixes:,} fixes folded in "
            f"{self._summary.seconds:.1f} s; nothing was saved",
            highlight=False,
        )

    def _show_fences(self, drafts: "list[FenceDraft]") -> None:
        busiest = sorted(drafts, key=lambda draft: -self._fences[draft.id].types.total())
        table = Table("fence", "visits", "mean stay", *_TYPES.values(), "devices", box=None)
        for draft in busiest[:_TOP_FENCES]:
            of_fence = self._fences[draft.id]
            # A visit is complete with its exit; one that still lasts has only entered.
            visits = max(of_fence.types["fence.entered"], of_fence.types["fence.exited"])
            left = of_fence.types["fence.exited"]
            table.add_row(
                escape(draft.name),
                f"{visits:,}",
                str(timedelta(seconds=round(of_fence.inside_s / left))) if left else "-",
                *(f"{of_fence.types[type_]:,}" for type_ in _TYPES),
                f"{len(of_fence.devices):,}",
            )
        out.print(table)
        if len(busiest) > _TOP_FENCES:
            out.print(f"... and {len(busiest) - _TOP_FENCES:,} fences more; --json has all")


def _print_line(item: "Progress | EventRecord | Summary") -> None:
    import msgspec

    from tracking.feed import EventRecord, encode_event
    from tracking.preview import Progress

    if isinstance(item, EventRecord):
        line = b'{"event":' + encode_event(item) + b"}"
    else:
        line = msgspec.json.encode({"progress" if isinstance(item, Progress) else "summary": item})
    sys.stdout.write(line.decode() + "\n")
