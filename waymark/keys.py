"""`waymark key`: API keys from the command line."""

# ruff: noqa: FBT002, PLC0415, PLR0917  -- options are arguments to Typer, a default of False is a
# flag, and psycopg is imported when needed

import json
import sys
from datetime import UTC, datetime, timedelta
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
    scope: Annotated[
        list[str] | None,
        typer.Option(help="All it may do of that, like fences:write or *:read; repeat for more."),
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, max=36_500, help="Ends after so long.")] = None,
    party: Annotated[
        str | None,
        typer.Option(help="A shipper, carrier or consignee: only its shipments are opened."),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Make an API key and print it; it cannot be shown again.

    For example:

        waymark key create "order service" --role service
        waymark key create "fence editor" --role dispatcher --scope fences:write --scope fences:read
    """
    from tracking.store.keys import create_key

    url = set_up(data_dir).database_url.get_secret_value()
    key = create_key(
        url,
        tenant,
        name,
        role,
        scopes=_checked(scope) if scope else None,
        expires_at=None if days is None else datetime.now(UTC) + timedelta(days=days),
        party=party,
    )
    sys.stdout.write(key + "\n")


def _checked(scopes: list[str]) -> list[str]:
    from api.document.route import TAGS
    from tracking.access import checked_scopes

    return checked_scopes(scopes, TAGS)


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
    times = ("created", "expires", "last used", "revoked")
    table = Table("id", "tenant", "name", "role", "scopes", *times, box=None)
    for key in keys:
        moments = (key.created_at, key.expires_at, key.last_used_at, key.revoked_at)
        shown = (f"{t:%Y-%m-%d %H:%M}" if t else "-" for t in moments)
        scopes = "all" if key.scopes is None else " ".join(key.scopes)
        table.add_row(str(key.id), key.tenant, key.name, key.role, scopes, *shown)
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
