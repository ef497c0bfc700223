"""`waymark deadletter`: what was refused, and another try for it."""

# ruff: noqa: PLC0415, FBT002  -- psycopg and paho are imported when needed; a default of False is
# how Typer spells a flag

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tracking.errors import InputError
from waymark.terminal import DEFAULT_DATA_DIR, AsJson, DataDir, err, out, set_up

if TYPE_CHECKING:
    from tracking.store.rejects import Kept

deadletter_app = typer.Typer(
    no_args_is_help=True,
    help="""See messages that were refused, and send them again.

    A message that holds no reading is kept byte for byte under a reason. After the cause is
    removed (a device registered, a tenant made, a decoder configured), replay it.""",
)

Tenant = Annotated[str | None, typer.Option(help="Only this tenant's.")]
Device = Annotated[str | None, typer.Option(help="Only this device's.")]
Reason = Annotated[str | None, typer.Option(help="Only this reason, e.g. unknown_device.")]

_PREVIEW = 60
# Cut when it was received; half a message is no message.
_CUT = "too_large"


@deadletter_app.command("list")
def list_letters(  # noqa: PLR0917  -- Typer passes them by name
    tenant: Tenant = None,
    device: Device = None,
    reason: Reason = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 50,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """List refused messages, the first received first.

    For example:

        waymark deadletter list --reason not_json

        waymark deadletter list --json | jq -r '.[0].payload_text'
    """
    from tracking.store.rejects import find_letters

    url = set_up(data_dir).database_url.get_secret_value()
    found = list(find_letters(url, tenant=tenant, device=device, reason=reason, limit=limit))
    if as_json:
        sys.stdout.write(json.dumps([_document(letter) for letter in found]) + "\n")
        return
    table = Table("id", "last received", "times", "reason", "topic", "payload", box=None)
    for letter in found:
        table.add_row(
            str(letter.id),
            f"{letter.last_received_at:%Y-%m-%d %H:%M:%S}",
            str(letter.n),
            letter.reason + (" [dim](replayed)[/dim]" if letter.replayed_at else ""),
            escape(letter.topic),
            escape(_text(letter.payload)[:_PREVIEW]),
        )
    out.print(table if found else "no dead letters")


@deadletter_app.command("replay")
def replay_letters(  # noqa: PLR0917  -- Typer passes them by name
    ids: Annotated[list[int] | None, typer.Argument(help="Their ids; or choose below.")] = None,
    tenant: Tenant = None,
    device: Device = None,
    reason: Reason = None,
    every: Annotated[bool, typer.Option("--all", help="All not yet replayed.")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Publish refused messages again, on their own topics, as they came.

    What is refused again stays a dead letter; what is stored now is marked as replayed. Doing so
    twice is harmless.

    For example:

        waymark deadletter replay --reason unknown_device

        waymark deadletter replay 17 18
    """
    from tracking.store.rejects import find_letters, mark_replayed
    from waymark.replay.publish import Publisher, parse_url

    if not (ids or tenant or device or reason or every):
        raise InputError("say which: ids, --reason, --device, --tenant or --all", field="ids")
    settings = set_up(data_dir)
    url = settings.database_url.get_secret_value()
    broker = parse_url(
        settings.mqtt_url.get_secret_value(),
        settings.mqtt_ca_file,
        settings.mqtt_cert_file,
        settings.mqtt_key_file,
    )
    found = find_letters(
        url, tenant=tenant, device=device, reason=reason, ids=ids or (), unreplayed=not ids
    )
    sent: list[Kept] = []
    cut = 0
    with Publisher(broker) as publisher:
        for letter in found:
            if letter.reason == _CUT:
                cut += 1
                continue
            publisher.publish(letter.topic, letter.payload)
            sent.append(letter)
        publisher.drain()
    mark_replayed(url, sent)
    out.print(f"{len(sent)} message(s) published again")
    if cut:
        err.print(f"{cut} left out: of messages too large only the beginning is kept")


def _document(letter: "Kept") -> dict[str, object]:
    document = letter._asdict()
    payload = document.pop("payload")
    for name in ("last_received_at", "replayed_at"):
        document[name] = None if document[name] is None else document[name].isoformat()
    return {**document, "payload_text": _text(payload), "payload_hex": payload.hex()}


def _text(payload: bytes) -> str:
    return payload.decode("utf-8", "backslashreplace")
