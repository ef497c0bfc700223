"""What a client of the feed may say, and the interest it means."""

import re
from typing import Annotated

import msgspec

from api.feed.messages import Message, error_message
from api.identity.credentials import MAX_TOKEN
from api.schemas.parameters import checked_bbox
from tracking.interest import Interest

Short = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Token = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TOKEN)]
Cursor = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Names = Annotated[list[Short], msgspec.Meta(max_length=10_000)]

# The member msgspec's message is about: "... unknown field `x`", "... - at `$.filter.bbox[0]`".
_MEMBER = re.compile(r"field `(\w+)`|at `\$\.([\w.]+)")


class Mistake(ValueError):  # noqa: N818 -- the client's, answered and not raised further
    """What a client said cannot be obeyed; `field` names what is wrong."""

    def __init__(self, message: str, field: str) -> None:
        self.field = field
        super().__init__(message)


class Filter(msgspec.Struct, forbid_unknown_fields=True):
    """What a subscription is limited to."""

    bbox: tuple[float, float, float, float] | None = None
    devices: Names | None = None
    types: Annotated[list[Short], msgspec.Meta(max_length=100)] | None = None
    fences: Names | None = None
    shipments: Names | None = None
    positions: bool = True


class Auth(msgspec.Struct, tag_field="op", tag="auth", forbid_unknown_fields=True):
    """The first message of a client that cannot set headers; later, a newer token."""

    token: Token


class Subscribe(msgspec.Struct, tag_field="op", tag="subscribe", forbid_unknown_fields=True):
    """Start a stream under a name of the client's choosing."""

    id: Short
    filter: Filter = msgspec.field(default_factory=Filter)
    since: Cursor | None = None


class Unsubscribe(msgspec.Struct, tag_field="op", tag="unsubscribe", forbid_unknown_fields=True):
    """End a stream."""

    id: Short


class Ping(msgspec.Struct, tag_field="op", tag="ping", forbid_unknown_fields=True):
    """Ask for a pong, for clients that cannot see the protocol's own."""


class _Named(msgspec.Struct):
    id: str | None = None


requests = msgspec.json.Decoder(Auth | Subscribe | Unsubscribe | Ping)
auth_requests = msgspec.json.Decoder(Auth)
_named = msgspec.json.Decoder(_Named)


def interest_of(wanted: Filter) -> Interest:
    """The interest a filter means.

    Raises:
        Mistake: the box is none.
    """
    bbox = None
    if wanted.bbox is not None:
        try:
            bbox = checked_bbox(list(wanted.bbox))
        except ValueError as exc:
            raise Mistake(f"bbox: {exc}", "bbox") from None
    return Interest(
        devices=_set(wanted.devices),
        bbox=bbox,
        types=_set(wanted.types),
        fences=_set(wanted.fences),
        positions=wanted.positions,
        shipments=_set(wanted.shipments),
    )


def explained(text: str, exc: Exception) -> Message:
    """The answer to a message that cannot be obeyed, naming its subscription where it has one."""
    try:
        name = _named.decode(text).id
    except msgspec.DecodeError:
        name = None
    if isinstance(exc, Mistake):
        return error_message("invalid", str(exc), name=name, field=exc.field)
    member = _MEMBER.search(str(exc))
    return error_message(
        "invalid", str(exc), name=name, field=(member[1] or member[2]) if member else None
    )


def _set(names: list[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)
