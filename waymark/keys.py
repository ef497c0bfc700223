"""`waymark key`: API keys from the command line."""

# ruff: noqa: FBT002, PLC0415  -- psycopg is imported when needed; a default of False is how Typer spells a flag

import json
import sys
from typing import Annotated, Literal

import typer
from rich.table import Table

from waymark.terminal import DEFAULT_DATA_DIR, AsJson, DataDir, out, set_up

key_app = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")


@key_app.command("create")
def create_a_key(
    name: Annotated[str, typer.Argument(help="Where the key is used, for the list.")],
    role: Annotated[
        Literal["admin", "dispatcher", "viewer", "service"], typer.Option(help="What it may do.")
    ] = "viewer",
    tenant: Annotated[str, typer.Option(help="Whose data it opens.")] = "default",
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Make an API key and print it; it cannot be shown again.

    For example:

        waymark key create "order service" --role service
    """
    from tracking.store.keys import create_key

    url = set_up(data_dir).database_url.get_secret_value()
    sys.stdout.write(create_key(url, tenant, name, role) + "\n")


@key_app.command("list")
def list_all(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """List the API keys, revoked ones included; the keys themselves are not kept."""
    from tracking.store.keys import list_keys

    keys = list_keys(set_up(data_dir).database_url.get_secret_value(), tenant)
    if as_json:
        sys.stdout.write(json.dumps([key._asdict() for key in keys], default=str) + "\n")
        return
    table = Table("id", "tenant", "name", "role", "created", "last used", "revoked", box=None)
    for key in keys:
        times = (key.created_at, key.last_used_at, key.revoked_at)
        shown = (f"{t:%Y-%m-%d %H:%M}" if t else "-" for t in times)
        table.add_row(str(key.id), key.tenant, key.name, key.role, *shown)
    out.print(table)


@key_app.command("revoke")
def revoke_a_key(
    key_id: Annotated[int, typer.Argument(help="Its id in `waymark key list`.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Make an API key useless, within seconds everywhere."""
    from tracking.store.keys import revoke_key

    revoke_key(set_up(data_dir).database_url.get_secret_value(), key_id)
    out.print(f"key {key_id} is revoked")
