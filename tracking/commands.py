"""The life of a command to a device. Pure.

    queued --> sent --> delivered --> succeeded | failed
       |         |          |
       |         +----------+-------> timed_out    no answer in time
       +--> expired                                never sent in time
       +--> cancelled                              by a person

`sent`: the broker has it. `delivered`: the device has it. An answer may overtake the broker's
acknowledgement, so a queued command may be answered. What has ended stays as it is; a late answer
to a command that timed out is kept beside it, or to one that expired while nobody knew whether the
broker had it.
"""

from typing import Annotated, Any, Literal, NamedTuple, get_args
from uuid import UUID

import msgspec
from msgspec import Meta

from tracking import raw
from tracking.times import Moment, iso

State = Literal[
    "queued", "sent", "delivered", "succeeded", "failed", "timed_out", "expired", "cancelled"
]
# What a device may say of a command.
Word = Literal["delivered", "succeeded", "failed"]

STATES: tuple[State, ...] = get_args(State)
ENDED: frozenset[str] = frozenset({"succeeded", "failed", "timed_out", "expired", "cancelled"})

# Ended by time alone: what the device says later is still worth keeping.
LATE: frozenset[str] = frozenset({"timed_out", "expired"})

MAX_PAYLOAD_BYTES = 8_192
# More than these wait for a device only when nobody looks after it.
MAX_QUEUED = 100

CommandName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]


class Command(msgspec.Struct, frozen=True):
    """A command and what became of it.

    `attempts_n` counts how often it was handed to the broker: with a second one the device may have
    got it twice, under one `id`. `result` is what the device answered.
    """

    id: UUID
    device: str
    name: str
    payload: raw.ObjectOrNull
    state: State
    timeout_s: float
    created_at: Moment
    created_by: str
    expires_at: Moment
    attempts_n: int
    sent_at: Moment | None
    delivered_at: Moment | None
    answered_at: Moment | None
    ended_at: Moment | None
    result: raw.ObjectOrNull


class Downlink(NamedTuple):
    """A command to be published now."""

    id: UUID
    tenant: str
    device: str
    name: str
    payload: bytes
    expires_us: int


class CommandMessage(msgspec.Struct, frozen=True):
    """A command as a device hears it. `payload` is for it alone to understand."""

    id: UUID
    name: str
    payload: msgspec.Raw
    expires_at: str


def after_answer(state: str, word: Word) -> State | None:
    """The state a device's word leads to; None when it changes nothing."""
    if state in {"queued", "sent"} or (state == "delivered" and word != "delivered"):
        return word
    return None


def downlink_message(downlink: Downlink) -> bytes:
    """What is published on `cmd`."""
    return msgspec.json.encode(
        CommandMessage(
            downlink.id,
            downlink.name,
            msgspec.Raw(downlink.payload),
            iso(downlink.expires_us),
        )
    )


def event_data(
    id_: UUID, name: str, state: State, result: bytes | str | None = None
) -> dict[str, Any]:
    """The `data` of the event that a command has come to a state."""
    data: dict[str, Any] = {"command": str(id_), "name": name, "state": state}
    if result is not None:
        data["result"] = msgspec.json.decode(result)
    return data
