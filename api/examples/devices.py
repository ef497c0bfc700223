"""What requests and answers about credentials and commands look like."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec

from api.examples.fleet import page_of
from api.schemas.devices import CommandInput, CredentialInput, IssuedCredential
from tracking.broker_access import native_topics
from tracking.commands import Command
from tracking.store.device_credentials import DeviceCredential

__all__ = [
    "COMMAND",
    "COMMAND_DONE",
    "COMMAND_INPUT",
    "CREDENTIAL",
    "CREDENTIAL_INPUT",
    "ISSUED",
    "page_of",
]

_MORNING = datetime(2026, 3, 8, 6, 30, tzinfo=UTC)

CREDENTIAL = DeviceCredential(
    id=UUID("5b2f6a52-8f0e-4c39-9a3b-0d5a2f6f1c11"),
    kind="password",
    username="acme/van-7",
    label="fitted in March",
    created_at=_MORNING,
    created_by="workshop",
    expires_at=None,
    revoked_at=None,
)
CREDENTIAL_INPUT = CredentialInput(label="fitted in March")
ISSUED = IssuedCredential(
    **msgspec.structs.asdict(CREDENTIAL),
    password="kq8nYj0cV2m5d1Xb4h7w9Zs3Rt6Up0La8Ce2Gf5Hi1M",  # noqa: S106 -- an example
    publish=native_topics("acme/van-7").publish,
    subscribe=native_topics("acme/van-7").subscribe,
)
COMMAND = Command(
    id=UUID("0c1de0b4-3f7a-4a53-9d8e-6f1f5a0b7c22"),
    device="van-7",
    name="interval",
    payload=msgspec.Raw(b'{"interval_s": 10}'),
    state="queued",
    timeout_s=60,
    created_at=_MORNING,
    created_by="dispatch",
    expires_at=_MORNING.replace(hour=7),
    attempts_n=0,
    sent_at=None,
    delivered_at=None,
    answered_at=None,
    ended_at=None,
    result=msgspec.Raw(b"null"),
)
COMMAND_DONE = msgspec.structs.replace(
    COMMAND,
    state="succeeded",
    attempts_n=1,
    sent_at=_MORNING.replace(microsecond=12_000),
    delivered_at=_MORNING.replace(microsecond=90_000),
    answered_at=_MORNING.replace(second=1),
    ended_at=_MORNING.replace(second=1),
    result=msgspec.Raw(b'{"interval_s": 10}'),
)
COMMAND_INPUT = CommandInput(name="interval", payload={"interval_s": 10})
