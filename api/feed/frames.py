"""How the messages of the feed read. `api.feed.messages` writes them byte by byte; a test holds the
real ones against these.
"""  # noqa: D205 -- one sentence

import msgspec

from tracking.feed import CloudEvent, PositionUpdate


class Frame(msgspec.Struct, tag_field="type", omit_defaults=True):
    """A message of the server; `id` is the subscription's, where there may be several."""


class Ready(Frame, tag="ready"):
    """The credential is good. `live`: positions come from Redis, not from the database."""

    live: bool


class Snapshot(Frame, tag="snapshot"):
    """A part of the latest positions that fit, more follow while `more`."""

    cursor: int
    more: bool
    positions: list[PositionUpdate]
    id: str | None = None


class Positions(Frame, tag="positions"):
    """What moved since the last one: the newest fix of each device."""

    updates: list[PositionUpdate]
    id: str | None = None


class Event(Frame, tag="event"):
    """One event; resume behind its `cursor`."""

    cursor: int
    event: CloudEvent
    id: str | None = None


class Gap(Frame, tag="gap"):
    """The events since the client's cursor cannot be told; those behind `cursor` can."""

    cursor: int
    reason: str
    id: str | None = None


class Heartbeat(Frame, tag="heartbeat"):
    """The link is alive, and everything up to `cursor` was told."""

    cursor: int | None = None
    id: str | None = None


class Status(Frame, tag="status"):
    """Whether positions come from Redis from now on."""

    live: bool


class Pong(Frame, tag="pong"):
    """The answer to a ping."""


class AuthExpiring(Frame, tag="auth_expiring"):
    """The credential is over in `left_s` seconds: send `auth` with a newer one."""

    left_s: int


class Closing(Frame, tag="closing"):
    """Why the stream ends, where there is no close frame to say it."""

    code: int
    reason: str


class Error(Frame, tag="error"):
    """What was wrong with a client's message."""

    code: str
    message: str
    id: str | None = None
    field: str | None = None


FRAMES: tuple[type[Frame], ...] = (
    Ready,
    Snapshot,
    Positions,
    Event,
    Gap,
    Heartbeat,
    Status,
    Pong,
    AuthExpiring,
    Closing,
    Error,
)
