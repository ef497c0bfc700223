"""`waymark fence`: fences from files, listed, shown and deleted."""

# ruff: noqa: FBT002, PLC0415  -- psycopg and shapely are imported when needed; a default of False
# is how Typer spells a flag

import asyncio
import gzip
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tracking.errors import InputError
from waymark.terminal import DEFAULT_DATA_DIR, AsJson, DataDir, err, moment, out, set_up

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tracking.fence_bulk import Bulk, BulkItem
    from tracking.store.connection import Connection

fence_app = typer.Typer(
    no_args_is_help=True,
    help="""Import, list, show and delete fences.

    A fence is ground that devices enter and leave. Each edit makes a version; a deleted fence
    keeps its versions, and importing it again revives it.""",
)

Tenant = Annotated[str, typer.Option(help="Whose fences.")]
T = TypeVar("T")

# Fences of one transaction; and faults and notes told one by one.
_AT_ONCE = 10_000
_TOLD = 20


@fence_app.command("import")
def import_file(  # noqa: PLR0917  -- Typer passes them by name
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)],
    layer: Annotated[
        str | None, typer.Option(help="Put all into this layer: fences that share borders.")
    ] = None,
    effective_from: Annotated[
        str | None, typer.Option(help="Since when they hold, such as 2026-03-01T00:00:00Z.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="Put in front of every id.")] = "",
    format_: Annotated[
        Literal["geojson", "topojson", "kml", "kmz", "wkt"] | None,
        typer.Option("--format", help="Else told by the content."),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Save the good ones if some are refused.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be saved.")
    ] = False,
    tenant: Tenant = "default",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Make or change fences out of GeoJSON, TopoJSON, KML, KMZ or WKT, gzipped too.

    Properties of a feature may be members of a fence (layer, dwell_s, speed_limit_mps, ...); a
    radius_m makes a Point a circle, a width_m a line a corridor; the others are kept as
    attributes. A fence's id is that of its feature, else its name. Importing a file again changes
    only what is different in it. Faults are named with their place; then nothing is saved and the
    exit status is 1, unless --partial.

    For example:

        waymark fence import depots.geojson --dry-run

        waymark fence import zones.kml --layer zones --prefix nyc-

        waymark fence import sites.geojson --effective-from 2026-03-01T00:00:00Z --partial
    """
    from tracking.fence_bulk import counts
    from tracking.times import to_us

    since_us = None
    if effective_from is not None:
        since_us = to_us(moment("--effective-from", effective_from))
    url = set_up(data_dir).database_url.get_secret_value()
    data = contents(file)
    shown = not as_json and err.is_terminal
    with _bar(shown=shown) as bar:
        bulk = _read(bar, data, file.name, format_, prefix, layer)
        items = run_for(
            url, tenant, lambda conn, id_: _save(bar, conn, id_, bulk, since_us, partial, dry_run)
        )
    if as_json:
        import msgspec

        document = {**counts(items), "dry_run": dry_run, "items": items}
        sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
    else:
        _tell(items, dry_run=dry_run)
    if not partial and any(item.outcome == "refused" for item in items):
        sys.exit(1)


@fence_app.command("list")
def list_all(  # noqa: PLR0917  -- Typer passes them by name
    prefix: Annotated[str | None, typer.Option(help="Only ids that begin so.")] = None,
    name: Annotated[str | None, typer.Option(help="Only names with this in them.")] = None,
    layer: Annotated[str | None, typer.Option(help="Only this layer.")] = None,
    deleted: Annotated[
        bool, typer.Option("--deleted", help="Those that were deleted instead.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 1_000,
    tenant: Tenant = "default",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """List fences by id, in their latest versions.

    For example:

        waymark fence list --layer zones

        waymark fence list --json | jq -r '.[].id'
    """
    import msgspec

    from tracking.store.fence_reads import FenceFilter, list_fences

    wanted = FenceFilter(prefix=prefix, name=name, layer=layer, deleted=deleted)
    found = run_for(
        set_up(data_dir).database_url.get_secret_value(),
        tenant,
        lambda conn, id_: list_fences(conn, id_, wanted, after=None, limit=limit),
    )
    if as_json:
        _print_json(found)
        return
    table = Table("id", "name", "kind", "layer", "version", "since", "by", box=None)
    for fence in found:
        table.add_row(
            fence.id,
            escape(fence.name),
            msgspec.json.decode(fence.shape)["type"],
            escape(fence.layer or "-"),
            str(fence.version),
            f"{fence.effective_from:%Y-%m-%d %H:%M}",
            escape(fence.updated_by or "-"),
        )
    out.print(table if found else "no fences")


@fence_app.command("show")
def show(
    fence_id: Annotated[str, typer.Argument(help="Its id in `waymark fence list`.")],
    version: Annotated[
        int | None, typer.Option(min=1, help="Another than the latest version.")
    ] = None,
    tenant: Tenant = "default",
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Show a fence as JSON, as the api tells it; what is shown can be edited and saved by the api.

    For example:

        waymark fence show depot-1 | jq .shape
    """
    from tracking.store.fence_reads import get_fence

    found = run_for(
        set_up(data_dir).database_url.get_secret_value(),
        tenant,
        lambda conn, id_: get_fence(conn, id_, fence_id, version),
    )
    if found is None:
        raise _unknown(fence_id)
    _print_json(found)


@fence_app.command("delete")
def delete(
    fence_ids: Annotated[list[str], typer.Argument(help="Their ids in `waymark fence list`.")],
    tenant: Tenant = "default",
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """End fences now; open visits are closed. Their versions stay, and an import revives them.

    For example:

        waymark fence delete depot-1 depot-2
    """
    from tracking.store.fence_edits import delete_fences

    gone = run_for(
        set_up(data_dir).database_url.get_secret_value(),
        tenant,
        lambda conn, id_: delete_fences(conn, id_, fence_ids),
    )
    for fence_id in gone.ids:
        out.print(f"fence {fence_id} is deleted", highlight=False)
    missing = sorted(set(fence_ids) - set(gone.ids))
    if missing:
        raise _unknown(missing[0])


def _read(  # noqa: PLR0917  -- a step of `import_file`
    bar: Progress,
    data: bytes,
    name: str,
    format_: str | None,
    prefix: str,
    layer: str | None,
) -> "Bulk":
    from tracking.fence_import import read_import

    task = bar.add_task("checking", total=None)
    return read_import(
        data,
        name=name,
        format_name=format_,
        prefix=prefix,
        layer=layer,
        step=lambda done, total: bar.update(task, completed=done, total=total),
    )


async def _save(  # noqa: PLR0917  -- a step of `import_file`
    bar: Progress,
    conn: "Connection",
    tenant_id: int,
    bulk: "Bulk",
    since_us: int | None,
    partial: bool,  # noqa: FBT001  -- as above
    dry_run: bool,  # noqa: FBT001
) -> "list[BulkItem]":
    """Save in portions, so that a portion's transaction is short; what is saved stays saved."""
    from tracking.fences import Saved
    from tracking.store.fence_edits import save_fences

    async def save(start: int, *, dry: bool) -> list[Saved]:
        edit = await save_fences(
            conn,
            tenant_id,
            bulk.drafts[start : start + _AT_ONCE],
            author="waymark fence import",
            effective_from_us=since_us,
            partial=partial or dry,
            dry_run=dry,
        )
        return edit.saved

    starts = range(0, len(bulk.drafts), _AT_ONCE)
    # All portions are asked before the first is saved.
    trial = [saved for start in starts for saved in await save(start, dry=True)]
    if dry_run:
        return bulk.told(trial)
    if not partial and (bulk.faults or any(saved.outcome == "refused" for saved in trial)):
        return bulk.told([saved.held_back() for saved in trial])
    task = bar.add_task("saving", total=len(bulk.drafts))
    done: list[Saved] = []
    for start in starts:
        done += await save(start, dry=False)
        bar.update(task, completed=len(done))
    return bulk.told(done)


def _tell(items: "list[BulkItem]", *, dry_run: bool) -> None:
    """Say what was repaired or refused, and where; then how many became what."""
    from tracking.fence_bulk import counts

    lines = [(item.id, note, "repaired") for item in items for note in item.notes if item.notes] + [
        (item.id, item.detail or "", "refused") for item in items if item.outcome == "refused"
    ]
    for kind, colour in (("repaired", "yellow"), ("refused", "red")):
        told = [(id_, what) for id_, what, of in lines if of == kind]
        for id_, what in told[:_TOLD]:
            err.print(
                f"[{colour}]{kind:<9}[/] {escape(id_ or '-')}  {escape(what)}",
                soft_wrap=True,
                highlight=False,
            )
        if len(told) > _TOLD:
            err.print(f"{kind:<9} ... and {len(told) - _TOLD:,} more; --json has all")
    found = counts(items)
    summary = ", ".join(f"{n:,} {what}" for what, n in found.items() if n) or "no fences"
    saved = found["created"] + found["changed"] > 0
    suffix = "; nothing was saved" if found["refused"] and not saved else ""
    out.print(f"{'would be: ' if dry_run else ''}{summary}{suffix}", highlight=False)


def run_for(database_url: str, tenant: str, work: "Callable[[Connection, int], Awaitable[T]]") -> T:
    """Do something for a tenant with the database."""
    return asyncio.run(_with_connection(database_url, tenant, work))


async def _with_connection(
    database_url: str, tenant: str, work: "Callable[[Connection, int], Awaitable[T]]"
) -> T:
    from tracking.store.connection import connect, translated
    from tracking.store.registry import tenant_ids

    conn = await connect(database_url, name="waymark-fence")
    try:
        with translated():
            tenants = await tenant_ids(conn)
            if tenant not in tenants:
                known = ", ".join(sorted(tenants)[:10])
                raise InputError(f"there is no tenant {tenant!r}; there are: {known}")
            return await work(conn, tenants[tenant])
    finally:
        await conn.close()


def contents(file: Path) -> bytes:
    """What is in the file, unzipped if it was gzipped."""
    try:
        data = file.read_bytes()
        return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    except (OSError, EOFError, zlib.error) as exc:
        raise InputError(f"{file} cannot be read: {exc}", field="file") from exc


def _bar(*, shown: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not shown,
    )


def _print_json(value: object) -> None:
    import msgspec

    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


def _unknown(fence_id: str) -> InputError:
    return InputError(f"there is no fence {fence_id!r}", field="fence_id")
