"""What the api takes and tells about devices' registration, credentials and commands."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from pydantic import Field

from api.schemas.parameters import Paged, Selected
from tracking.broker_access import DEVICE_NAME
from tracking.commands import CommandName
from tracking.fence_input import Labels
from tracking.store.device_credentials import DeviceCredential

_DAY_S = 86_400
_MONTH_S = 30 * _DAY_S

Label = Annotated[str, Meta(max_length=200, pattern=r"^[^\x00-\x1f]*$")]


class RegistrationInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A device before its first message."""

    name: Annotated[str, Meta(pattern=f"^{DEVICE_NAME.pattern}$")]
    groups: Labels = ()
    tags: Labels = ()
    attrs: dict[str, Any] = {}


class CredentialInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to issue: a password, or a certificate to recognise by its subject's common name."""

    kind: Literal["password", "certificate"] = "password"
    label: Label = ""
    common_name: str | None = None
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None


class RotationInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the old password goes on to work."""

    overlap_s: Annotated[float, Meta(ge=0, le=_MONTH_S)] = _DAY_S


class IssuedCredential(DeviceCredential, frozen=True):
    """A credential and what it opens. `password` is shown this once; null with a certificate."""

    password: str | None
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


class CommandInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a device is to do.

    `ttl_s` is how long it may wait to be sent, `timeout_s` how long its answer may take then.
    """

    name: CommandName
    payload: dict[str, Any] | None = None
    timeout_s: Annotated[float, Meta(ge=1, le=_DAY_S)] = 60
    ttl_s: Annotated[float, Meta(ge=1, le=_MONTH_S)] = 3_600


class CommandsQuery(Paged):
    """Which commands of a device."""

    state: (
        list[
            Literal[
                "queued",
                "sent",
                "delivered",
                "succeeded",
                "failed",
                "timed_out",
                "expired",
                "cancelled",
            ]
        ]
        | None
    ) = Field(None, max_length=8, description="Repeat for several")


class WaitQuery(Selected):
    """How long to wait for a command to end."""

    wait_s: float = Field(0, ge=0, le=60, description="Answer when it has ended, or after this")
