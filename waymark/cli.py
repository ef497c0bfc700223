"""The command line. Each command imports what it needs itself, so that `--help` is quick."""

# ruff: noqa: PLC0415, FBT002  -- imports as said above; a default of False is how Typer spells a flag

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from tracking.errors import WaymarkError
from waymark.broker import broker_app
from waymark.deadletter import deadletter_app
from waymark.eta import eta_app
from waymark.fence import fence_app
from waymark.fence_preview import preview
from waymark.keys import key_app
from waymark.terminal import DEFAULT_DATA_DIR, AsJson, DataDir, fail, out, run, set_up
from waymark.users import tenant_app, user_app

if TYPE_CHECKING:
    from waymark.doctor import Finding, Row
    from waymark.system import Entrances

app = typer.Typer(
    name="waymark",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Complete and correct logistics events from messy device data.

    [bold]Start everything on this machine[/bold], then send a position and look at it:

        waymark up

        mosquitto_pub -q 1 -t wm/default/truck-1/pos \\
          -m '{"t": "2026-01-31T12:00:00Z", "lon": 4.9, "lat": 52.4}'

    [bold]On servers of your own[/bold], set WAYMARK_DATABASE_URL, WAYMARK_REDIS_URL and
    WAYMARK_MQTT_URL, then:

        waymark doctor && waymark migrate

        waymark ingest & waymark api & waymark monitor & waymark deliver &

    Settings are WAYMARK_* variables; `waymark doctor` lists them.""",
)
app.add_typer(key_app, name="key")
app.add_typer(broker_app, name="broker")
app.add_typer(user_app, name="user")
app.add_typer(tenant_app, name="tenant")
fence_app.command("preview")(preview)
app.add_typer(fence_app, name="fence")
app.add_typer(deadletter_app, name="deadletter")
app.add_typer(eta_app, name="eta")


def main() -> NoReturn:
    """Run the command; a mistake of the user's is one line on stderr and exit status 2."""
    try:
        _add_commands_of_others()
        app()
    except WaymarkError as exc:
        fail(str(exc))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader, `head` perhaps, has seen enough; without this Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(0)


@app.command()
def up(  # noqa: PLR0917  -- Typer passes them by name
    data_dir: DataDir = DEFAULT_DATA_DIR,
    http_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the api and map. [default: 8080]")
    ] = None,
    mqtt_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port for devices. [default: 1883]")
    ] = None,
    broker: Annotated[
        Literal["auto", "mosquitto", "iotcore"],
        typer.Option(help="auto is mosquitto when installed, else iotcore."),
    ] = "auto",
    workers: Annotated[int, typer.Option(min=1, max=64, help="Ingest processes.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Run everything on this machine: servers, schema and every process.

    Needs neither Docker nor root; all data is in one folder and survives. Whatever dies is
    started again. Ctrl-C drains and stops; a second one does not wait.

    For example:

        waymark up

        waymark up --data-dir /srv/waymark --http-port 80 --workers 2

        waymark up --json | jq -r .api_key
    """
    from waymark.system import System

    set_up()
    stop = threading.Event()
    system = System(
        data_dir, mqtt_port=mqtt_port, http_port=http_port, broker=broker, workers=workers
    )

    def on_signal(_number: int, _frame: object) -> None:
        if stop.is_set():
            system.kill()
        stop.set()

    # Until it runs, either signal unwinds what was started so far.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with system:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, on_signal)
        _show_entrances(system.entrances, data_dir, as_json=as_json)
        system.run(until=stop)


@app.command()
def demo(  # noqa: PLR0917  -- Typer passes them by name
    devices: Annotated[int, typer.Option(min=1, max=5_000, help="Vehicles of the fleet.")] = 60,
    for_s: Annotated[
        float, typer.Option("--for", min=0, help="End by itself after so many seconds; 0: never.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Another seed is another fleet.")] = 1,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    http_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the api and map. [default: 8080]")
    ] = None,
    mqtt_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port for devices. [default: 1883]")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Ingest processes.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Run everything with a simulated fleet on it, and show what arrives, second by second.

    Open the map's address to watch the fleet move. Kill any process with -9: it comes back, and
    nothing is lost. With --json the output is one object, at the end.

    For example:

        waymark demo

        waymark demo --for 60 --json

        waymark demo --devices 500 --workers 2
    """
    from waymark.demo import Demo
    from waymark.system import System

    set_up()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with System(data_dir, mqtt_port=mqtt_port, http_port=http_port, workers=workers) as system:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        if not as_json:
            _show_entrances(system.entrances, data_dir, as_json=False)
            out.print(f"  [bold]open[/]          {system.map_url}", highlight=False, soft_wrap=True)
        fleet = Demo(system, devices=devices, for_s=for_s, seed=seed)
        page = fleet.ship()
        if page is not None and not as_json:
            out.print(f"  [bold]a shipment[/]    {page}", highlight=False, soft_wrap=True)
        summary = fleet.run(until=stop, report=(lambda _line: None) if as_json else _show_line)
    if as_json:
        sys.stdout.write(json.dumps(summary) + "\n")


@app.command()
def ingest(
    index: Annotated[
        int, typer.Option(min=0, help="Which worker this is; names its MQTT session.")
    ] = 0,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Receive from the broker, store, raise events; acknowledge only what is committed.

    Several workers divide the devices: tell each how many there are and which it is, and keep
    that over restarts, so that it finds its session again. SIGTERM finishes what was received.

    For example:

        export WAYMARK_WORKERS=2; waymark ingest --index 0 & waymark ingest --index 1 &
    """
    from ingest.worker import run as work
    from waymark.supervisor import notify_ready

    run(work(set_up(data_dir), index=index, ready=notify_ready))


@app.command()
def api(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Serve the REST API, the websocket feed and the live map.

    For example:

        WAYMARK_HTTP_HOST=0.0.0.0 WAYMARK_HTTP_PORT=80 waymark api
    """
    from api.app import keep_what_is_there, serve

    run(serve(set_up(data_dir), ready=keep_what_is_there))


@app.command()
def monitor(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Raise what only time brings about, and keep the database in shape. Any number may run."""
    from ingest.monitor import run as watch

    run(watch(set_up(data_dir)))


@app.command()
def deliver(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Deliver events and alerts to webhooks and channels. Any number may run.

    For example:

        export WAYMARK_SECRET_KEY=...; waymark deliver

        WAYMARK_CHANNELS=mailtos,slack waymark deliver
    """
    from deliver.process import run as work
    from waymark.supervisor import notify_ready

    run(work(set_up(data_dir), ready=notify_ready))


@app.command()
def migrate(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Bring the database's schema up to date; safe while the previous version runs."""
    from tracking.store.migrate import migrate as apply

    applied = apply(set_up(data_dir).database_url.get_secret_value())
    for name in applied:
        out.print(f"applied {name}")
    if not applied:
        out.print("nothing to do: every migration is applied")


@app.command()
def asyncapi() -> None:
    """Print the AsyncAPI document of MQTT, Redis and the feed, as the api serves it.

    For example:

        waymark asyncapi > api/reference/asyncapi.json
    """
    from waymark.asyncapi import encoded

    out.file.write(encoded())


@app.command()
def doctor(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the table of settings for the README.")
    ] = False,
) -> None:
    """Show every setting and check every server; say what is wrong and what to do.

    Exit status 1 if something fails. Passwords are not shown.

    For example:

        waymark doctor

        waymark doctor --json | jq '.checks[] | select(.verdict != "ok")'
    """
    from waymark.doctor import examine, markdown_table, settings_rows

    rows = settings_rows(settings := set_up(data_dir))
    if markdown:
        sys.stdout.write(markdown_table(rows) + "\n")
        return
    if not as_json:
        _show_settings(rows)
    findings = []
    for finding in examine(settings):
        findings.append(finding)
        if not as_json:
            _show_finding(finding)
    healthy = all(finding.verdict != "fail" for finding in findings)
    if as_json:
        document = {
            "ok": healthy,
            "settings": [row._asdict() for row in rows],
            "checks": [finding._asdict() for finding in findings],
        }
        sys.stdout.write(json.dumps(document) + "\n")
    if not healthy:
        sys.exit(1)


def _add_commands_of_others() -> None:
    """Add what lives with its own code, unless another command was asked for."""
    asked = {"replay", "backfill", "-h", "--help", "--show-completion"}
    if len(sys.argv) > 1 and sys.argv[1] not in asked:
        return
    from waymark.backfill import backfill
    from waymark.replay.command import replay

    app.command()(replay)
    app.command()(backfill)


def _show_entrances(entrances: "Entrances", data_dir: Path, *, as_json: bool) -> None:
    if as_json:
        line = json.dumps({"ready": True, **entrances._asdict()})
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
        return
    out.print("[bold green]Waymark runs.[/bold green] Ctrl-C stops it.")
    rows = {
        "map and API": entrances.http,
        "API key": entrances.api_key,
        "devices": entrances.mqtt,
        "database": entrances.database,
        "redis": entrances.redis,
        "data and logs": str(data_dir.resolve()),
    }
    for what, where in rows.items():
        # Plain and unwrapped, so that a terminal's double click takes the whole of it.
        out.print(f"  {what:<14}{where}", markup=False, highlight=False, soft_wrap=True)


def _show_line(line: str) -> None:
    out.print(line, highlight=False, soft_wrap=True)


def _show_settings(rows: "list[Row]") -> None:
    from rich.markup import escape

    out.print("[dim]bold: not the default[/dim]")
    for row in rows:
        style = "bold" if row.value != row.default else "default"
        line = (
            f"[{style}]{row.variable:<28} {escape(row.value or '-'):<28}[/] {escape(row.meaning)}"
        )
        out.print(line, soft_wrap=True, highlight=False)
    out.print()


def _show_finding(finding: "Finding") -> None:
    from rich.markup import escape

    colour = {"ok": "green", "warn": "yellow", "fail": "red"}[finding.verdict]
    lines = [f"[{colour}]{finding.verdict:<5}[/] {finding.server:<9} {finding.what:<12} "]
    lines[0] += escape(finding.found)
    if finding.advice:
        lines.append(f"{'':<29}-> {escape(finding.advice)}")
    out.print("\n".join(lines), soft_wrap=True, highlight=False)
