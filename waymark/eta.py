"""`waymark eta`: what is known of arrivals, learned and chosen."""

# ruff: noqa: FBT002, PLC0415  -- numpy and psycopg are imported when needed; a default of False is
# how Typer spells a flag

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from tracking.errors import Conflict
from waymark.eta_report import report
from waymark.fence import run_for
from waymark.terminal import DEFAULT_DATA_DIR, AsJson, DataDir, err, out, set_up

if TYPE_CHECKING:
    from ingest.training import Trained
    from tracking.eta.lessons import Learned
    from tracking.store.connection import Connection

eta_app = typer.Typer(
    no_args_is_help=True,
    help="""Forecasts of arrival: learn them from what was driven, choose versions, see how good.

    Each training makes a version. Forecasts are made with the latest, or with the one that was
    pinned by `waymark eta use`; the monitor makes versions by itself.""",
)

eta_app.command("report")(report)

Tenant = Annotated[str, typer.Option(help="Whose trips.")]

# The monitor trains for seconds; whoever waits longer is told.
_PATIENCE_S = 30.0


@eta_app.command("train")
def train(
    from_scratch: Annotated[
        bool,
        typer.Option("--from-scratch", help="Forget what was learned, and read all trips again."),
    ] = False,
    tenant: Tenant = "default",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Learn from the trips of devices and the legs of shipments that ended since the last version.

    Trips teach how long it takes from around here to around there and how fast each road is, legs
    how long it takes between two of your places. Each is forecast before it is learned, which
    tells how good forecasts are; the plain ones beside them are distance at the usual speed.
    Nothing is changed before the end: whoever interrupts it loses nothing.

    For example:

        waymark eta train

        waymark eta train --from-scratch --json | jq .merits
    """
    url = set_up(data_dir).database_url.get_secret_value()
    shown = not as_json and err.is_terminal
    done = run_for(url, tenant, lambda conn, id_: _train(conn, id_, from_scratch, shown))
    if as_json:
        _print_json(_document(done))
    else:
        _tell(done)


@eta_app.command("models")
def models(
    tenant: Tenant = "default", data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False
) -> None:
    """List the versions there are, the latest first; `*` is the one forecasts are made with.

    For example:

        waymark eta models

        waymark eta models --json | jq '.[] | select(.used).version'
    """
    from tracking.store.eta_models import list_models

    found = run_for(set_up(data_dir).database_url.get_secret_value(), tenant, list_models)
    if as_json:
        _print_json(found)
        return
    table = Table("", "version", "made", "by", "trips", "fixes", "MB", "", box=None)
    for one in found:
        table.add_row(
            "*" if one.used else "",
            str(one.version),
            f"{one.made_at:%Y-%m-%d %H:%M}",
            one.made_by,
            f"{one.trips:,}",
            f"{one.fixes:,}",
            f"{one.bytes_n / 1e6:.1f}",
            "pinned" if one.pinned else "",
        )
    out.print(table if found else "nothing was learned yet: `waymark eta train` begins")


@eta_app.command("use")
def use(
    version: Annotated[
        str,
        typer.Argument(help="Its number in `waymark eta models`, or latest.", metavar="VERSION"),
    ],
    tenant: Tenant = "default",
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Have forecasts made with one version until told otherwise, or with the latest again.

    Training goes on meanwhile, from the latest.

    For example:

        waymark eta use 12

        waymark eta use latest
    """
    from tracking.errors import InputError
    from tracking.store.eta_models import pin_version

    if version != "latest" and not (version.isascii() and version.isdigit()):
        raise InputError(
            f"{version!r} is no version: give a number of `waymark eta models`, or latest",
            field="version",
        )
    chosen = None if version == "latest" else int(version)
    url = set_up(data_dir).database_url.get_secret_value()
    run_for(url, tenant, lambda conn, id_: pin_version(conn, id_, chosen))
    what = "the latest version" if chosen is None else f"version {chosen}"
    out.print(f"forecasts are made with {what} within seconds", highlight=False)


async def _train(
    conn: "Connection",
    tenant_id: int,
    from_scratch: bool,  # noqa: FBT001  -- a step of `train`
    shown: bool,  # noqa: FBT001
) -> "Trained":
    from ingest.training import train
    from tracking.store.driven import waiting
    from tracking.store.eta_models import line_of
    from tracking.store.events import feed_cursor

    line = await line_of(conn, tenant_id, anew=from_scratch)
    total = await waiting(conn, tenant_id, line.upto, await feed_cursor(conn, tenant_id))
    began_s, fixes = time.monotonic(), 0
    with _bar(shown=shown) as bar:
        task = bar.add_task("learning", total=total, told="")

        def step(done: "Learned", _cursor: int) -> None:
            nonlocal fixes
            fixes += done.fixes
            rate = fixes / max(time.monotonic() - began_s, 1e-3)
            bar.update(task, advance=done.seen, told=f"{fixes:,} fixes, {rate:,.0f}/s")

        while time.monotonic() < began_s + _PATIENCE_S:
            done = await train(conn, tenant_id, "train", from_scratch=from_scratch, step=step)
            if done is not None:
                return done
            bar.update(task, told="waiting for the monitor, which is training")
            await asyncio.sleep(0.5)
    raise Conflict("somebody else is training this tenant: try again when that is done")


def _document(done: "Trained") -> dict[str, object]:
    learned = done.learned
    return {
        "version": done.version,
        "upto": done.upto,
        "trips": learned.trips,
        "legs": learned.legs,
        "fixes": learned.fixes,
        "forecasts_scored": learned.scored,
        "left_out": dict(learned.left_out),
        "bytes_n": done.bytes_n,
        "merits": [one._asdict() for one in learned.merits()],
    }


def _tell(done: "Trained") -> None:
    learned = done.learned
    if done.version is None:
        out.print("nothing to learn: no trip or leg has ended since", highlight=False)
    else:
        out.print(
            f"version {done.version}: {learned.trips:,} trips, {learned.legs:,} legs, "
            f"{learned.fixes:,} fixes more; {done.bytes_n / 1e6:.1f} MB",
            highlight=False,
        )
    for reason, n in sorted(learned.left_out.items()):
        out.print(f"  left out: {n:,} {reason}", highlight=False)
    for one in learned.merits():
        kind = "the way known" if one.known_way else "as the crow flies"
        out.print(
            f"  {kind}: {one.forecasts:,} forecasts made before they were learned are off by "
            f"{one.mae_s:,.0f} s, plain ones by {one.plain_mae_s:,.0f} s; {one.within:.0%} within "
            "p10-p90",
            highlight=False,
            soft_wrap=True,
        )


def _bar(*, shown: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not shown,
    )


def _print_json(value: object) -> None:
    import msgspec

    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
