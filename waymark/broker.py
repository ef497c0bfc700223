"""`waymark broker`: what brokers must know of the devices' credentials."""

# ruff: noqa: FBT002, PLC0415  -- psycopg is imported when needed; a default of False is how Typer spells a flag

from pathlib import Path
from typing import Annotated

import typer

from waymark.terminal import DEFAULT_DATA_DIR, DataDir, out, run, set_up

broker_app = typer.Typer(no_args_is_help=True, help="Let devices into an MQTT broker.")


@broker_app.callback()
def _group() -> None:
    """Let devices into an MQTT broker."""


@broker_app.command("mosquitto-files")
def mosquitto_files(
    out_dir: Annotated[
        Path, typer.Option("--out", help="Folder of the files; Mosquitto must be able to read it.")
    ],
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on, and write them anew whenever they change.")
    ] = False,
    pid_file: Annotated[
        Path | None,
        typer.Option(help="Mosquitto's `pid_file`: it is sent SIGHUP after each change."),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    r"""Write Mosquitto's password and ACL files from the devices' credentials.

    On SIGHUP Mosquitto reads them and disconnects whoever may no longer be there. The user name and
    password in WAYMARK_MQTT_URL become those of Waymark's own processes.

    For example:

        waymark broker mosquitto-files --out /etc/mosquitto/waymark

        waymark broker mosquitto-files --out /etc/mosquitto/waymark --watch \
          --pid-file /run/mosquitto/mosquitto.pid
    """
    from waymark.broker_files import BrokerFiles

    files = BrokerFiles(set_up(data_dir), out_dir, pid_file)
    if watch:
        run(files.watch())
        return
    run(files.write_once())
    out.print(f"wrote {', '.join(sorted(files.names))} in {out_dir}")
