"""What the api takes and tells of previews."""

from typing import Annotated

import msgspec
from msgspec import Meta

from tracking.feed import CloudEvent
from tracking.fence_input import FenceInput, Name
from tracking.preview import MAX_DRAFTS, Progress, Summary
from tracking.times import Moment

_MISSING = msgspec.Raw()


class PreviewInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fences as they may be saved, and over which time and, if not all, whose history."""

    start: Moment
    end: Moment | None = None
    # Empty where it is missing: msgspec has no Raw that may be None.
    fence: msgspec.Raw = _MISSING
    fences: Annotated[list[msgspec.Raw], Meta(max_length=MAX_DRAFTS)] | None = None
    devices: Annotated[list[Name], Meta(max_length=10_000)] | None = None


class PreviewSchema(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fences as they may be saved, one or several, over which time and whose history if not all."""

    start: Moment
    end: Moment | None = None
    fence: FenceInput | None = None
    fences: Annotated[list[FenceInput], Meta(max_length=MAX_DRAFTS)] | None = None
    devices: Annotated[list[Name], Meta(max_length=10_000)] | None = None


class Broken(msgspec.Struct, frozen=True):
    """Why the answer ends early."""

    detail: str


class PreviewLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the answer, which holds one of these. The last is `summary`, or `error`."""

    progress: Progress | None = None
    event: CloudEvent | None = None
    summary: Summary | None = None
    error: Broken | None = None
