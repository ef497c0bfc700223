"""`waymark eta report`: how right forecasts of arrival were, as a picture in the terminal."""

# ruff: noqa: FBT002, PLC0415  -- psycopg is imported when needed; a default of False is how Typer
# spells a flag

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.bar import Bar
from rich.markup import escape
from rich.table import Column, Table

from tracking.errors import InputError
from waymark.terminal import DEFAULT_DATA_DIR, AsJson, DataDir, moment, out, set_up

if TYPE_CHECKING:
    from api.schemas.accuracy import AccuracyReport
    from tracking.eta.accuracy import LeftOut, Score

# Cells of the longest bar, at most.
_BAR = 24


def report(  # noqa: PLR0917  -- Typer passes them by name
    tenant: Annotated[str, typer.Option(help="Whose forecasts.")] = "default",
    start: Annotated[
        str | None, typer.Option("--from", help="First time. [default: a week before the last]")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="Last time, excluded. [default: now]")
    ] = None,
    by: Annotated[
        Literal["horizon", "lane", "hour", "path", "model", "legs"],
        typer.Option(help="What makes a group."),
    ] = "horizon",
    limit: Annotated[int, typer.Option(min=1, help="Groups, those with most arrivals.")] = 40,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Compare the forecasts made in a time with when shipments came, as far as is known by now.

    In minutes: how far forecasts were off on average, half of them and nine in ten at most; bias,
    + where shipments came earlier than was said; how many the range of p10 to p90 held, and how
    wide it is; the error as a part of that of the plan or plain distance alone. A shipment, stop
    and horizon count once, however many forecasts were made of them.

    For example:

        waymark eta report

        waymark eta report --by lane --from 2026-03-01T00:00Z --to 2026-04-01T00:00Z

        waymark eta report --json | jq .total.coverage
    """
    import msgspec

    from api.schemas.accuracy import Span, report_of
    from tracking.eta.accuracy import judged
    from tracking.store.eta_forecasts import forecast_errors
    from waymark.fence import run_for

    span = Span.of(
        None if start is None else moment("--from", start),
        None if end is None else moment("--to", end),
    )
    if span.start > span.end:
        raise InputError("--from: it is after --to", field="from")
    url = set_up(data_dir).database_url.get_secret_value()
    bins = run_for(url, tenant, lambda conn, id_: forecast_errors(conn, id_, by, *span))
    found = report_of(by, span, judged(by, bins), limit)
    if as_json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    else:
        _show(found)


def _show(found: "AccuracyReport") -> None:
    if found.items:
        out.print(_table(found))
    if found.groups > len(found.items):
        out.print(f"and {found.groups - len(found.items):,} more groups; --limit shows them")
    out.print(_in_words(found.total), highlight=False)
    left_out = _left_out(found.left_out)
    if left_out:
        out.print(f"[dim]Left out: {left_out}.[/]", highlight=False)


def _table(found: "AccuracyReport") -> Table:
    names = ("half", "9 in 10", "bias", "held", "wide", "prior")
    widest_s = max(score.mae_s or 0.0 for score in found.items) or 1.0
    table = Table(
        Column(found.by, min_width=12, max_width=40, no_wrap=True),
        *(Column(name, justify="right", no_wrap=True) for name in ("arrivals", "off by")),
        # In a narrow terminal the picture gives way.
        Column(min_width=5, max_width=_BAR),
        *(Column(name, justify="right", no_wrap=True) for name in names),
        box=None,
        pad_edge=False,
    )
    for score in found.items:
        table.add_row(
            escape(score.key),
            f"{score.arrivals:,}",
            _clock(score.mae_s),
            Bar(widest_s, 0.0, score.mae_s or 0.0, color="cyan"),
            _clock(score.median_s),
            _clock(score.p90_s),
            _clock(score.bias_s, signed=True),
            _part(score.coverage),
            _clock(score.width_s),
            _part(score.ratio),
        )
    return table


def _in_words(total: "Score") -> str:
    if total.mae_s is None:
        return "No forecast of that time can be compared with an arrival yet."
    held = f"{_part(total.coverage)} came within the range that was told"
    words = (
        f"Of {total.arrivals:,} arrivals half were at most {_span(total.median_s)} off, "
        f"nine in ten {_span(total.p90_s)}; {held}, {_span(total.width_s)} wide"
    )
    if total.ratio is None:
        return f"{words}."
    than = "less" if total.ratio <= 1 else "more"
    return f"{words}. {_part(abs(1 - total.ratio))} {than} wrong than the plan or plain distance."


def _left_out(left_out: "LeftOut") -> str:
    told = {
        "of stops not reached": left_out.not_reached,
        "of arrivals that somebody said": left_out.overridden,
        "made when it had arrived": left_out.made_late,
        "in the last minute": left_out.last_minute,
    }
    return ", ".join(f"{n:,} {what}" for what, n in told.items() if n)


def _part(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _clock(seconds: float | None, *, signed: bool = False) -> str:
    """Minutes and seconds; with a sign, + is later than it came."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(abs(seconds)), 60)
    sign = ("-" if seconds < 0 else "+") if signed else ""
    return f"{sign}{minutes:,}:{rest:02}"


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
