"""Fences as people write them: JSON in, checked drafts out, each fault with its place. No I/O."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from geofence.shapes import Kind, Shape, ShapeError, definition_of, shape_of
from tracking.errors import InputError
from tracking.fences import Audience, Buffers, FenceDraft, FenceOptions, Schedule, Window
from tracking.ids import ID, whole
from tracking.schedules import calendar
from tracking.shipments import RESERVED
from tracking.times import Moment, to_us

_ID = whole(ID)
_TEXT = whole(r"^[^\x00-\x1f]+$")
MAX_ATTRS_BYTES = 16_384

# PostgreSQL refuses NUL in text; no name has control characters.
Id = Annotated[str, Meta(pattern=_ID)]
Name = Annotated[str, Meta(min_length=1, max_length=256, pattern=_TEXT)]
Label = Annotated[str, Meta(min_length=1, max_length=128, pattern=_TEXT)]
Labels = Annotated[tuple[Label, ...], Meta(max_length=1_000)]

_MEMBERS = ("type", "coordinates", "center", "radius_m", "width_m", "cells")
_HINTS = {
    _ID: "up to 128 of A-Z a-z 0-9 . _ : - that start with a letter or digit",
    _TEXT: "text without control characters",
}
_AT = re.compile(r"^(.*?)(?: - at `(?:key in )?\$(.*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_INDEX = re.compile(r"\.(\d+)(?=\.|$)")


class BuffersInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How calm a fence is; what is left out is chosen by size, sampling and accuracy."""

    enter_m: Annotated[float, Meta(ge=0, le=1_000)] | None = None
    exit_m: Annotated[float, Meta(ge=0, le=1_000)] | None = None
    min_fixes: Annotated[int, Meta(ge=1, le=100)] | None = None


class WindowInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A daily window of local time, HH:MM; one that ends at or before its start is overnight."""

    start: str
    end: str
    days: Annotated[tuple[str, ...], Meta(max_length=7)] = ()


class ScheduleInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a fence raises events, in an IANA time zone."""

    time_zone: str
    windows: Annotated[tuple[WindowInput, ...], Meta(min_length=1, max_length=100)]


class AudienceInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which devices a fence applies to: those in any of the lists; everyone without any."""

    devices: Annotated[tuple[Name, ...], Meta(max_length=10_000)] = ()
    groups: Labels = ()
    tags: Labels = ()


class FenceInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fence as it may be sent. The last members are told by the api and ignored here, so that
    a fence that was read can be sent back.
    """  # noqa: D205 -- one contract

    shape: dict[str, Any]
    id: Id | None = None
    name: Name | None = None
    layer: Label | None = None
    buffers: BuffersInput | None = None
    dwell_s: Annotated[float, Meta(gt=0, le=31_536_000)] | None = None
    speed_limit_mps: Annotated[float, Meta(gt=0, le=1_000)] | None = None
    schedule: ScheduleInput | None = None
    applies_to: AudienceInput | None = None
    normal: Literal["outside", "inside"] = "outside"
    crossed: bool = True
    attrs: dict[str, Any] = {}
    effective_from: Moment | None = None

    version: Any = None
    effective_to: Any = None
    created_at: Any = None
    updated_at: Any = None
    updated_by: Any = None
    deleted_at: Any = None
    notes: Any = None


_decoder = msgspec.json.Decoder(FenceInput)


def read_fence(
    raw: bytes | msgspec.Raw,
    *,
    id_: str | None = None,
    fallback_id: str | None = None,
    where: str = "",
) -> FenceDraft:
    """A fence out of its JSON.

    `id_` is what the address says; without one its `id` counts, and without that `fallback_id`.

    Raises:
        InputError: it is no fence; `field` is the place, and begins at `where`.
    """
    try:
        given = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise explained(exc, where) from None
    return _draft(given, id_, fallback_id, where)


def draft_of(
    shape: Mapping[str, object], members: Mapping[str, object], *, where: str
) -> FenceDraft:
    """A fence out of its shape's definition, which is at `where`, and its other members.

    Raises:
        InputError: as `read_fence`.
    """
    try:
        given = msgspec.convert({**members, "shape": dict(shape)}, FenceInput)
    except msgspec.ValidationError as exc:
        raise explained(exc, where) from None
    return _draft(given, None, None, where, shape_at=where)


def explained(exc: Exception, where: str = "") -> InputError:
    """What msgspec says is wrong with JSON, with its place as a field's name."""
    if isinstance(exc, RecursionError):
        return _fault("it is nested too deeply", where, "")
    if not isinstance(exc, msgspec.ValidationError):
        return _fault(f"this is no JSON: {exc}", where, "")
    found = _AT.fullmatch(str(exc))
    message, path = (found[1], found[2] or "") if found else (str(exc), "")
    for pattern, hint in _HINTS.items():
        message = message.replace(f"Expected `str` matching regex {pattern!r}", f"give {hint}")
    path = path.removeprefix(".")
    if unknown := _UNKNOWN.fullmatch(message):
        return _fault("there is no such member here", where, _joined(path, unknown[1]))
    if missing := _MISSING.fullmatch(message):
        return _fault("it is missing", where, _joined(path, missing[1]))
    return _fault(message[:1].lower() + message[1:].replace("`", ""), where, path)


def _draft(
    given: FenceInput,
    id_: str | None,
    fallback_id: str | None,
    where: str,
    *,
    shape_at: str | None = None,
) -> FenceDraft:
    if id_ is not None and given.id not in {None, id_}:
        raise _fault(f"it is not {id_!r}, as in the address", where, "id")
    fence_id = next((i for i in (id_, given.id, fallback_id) if i is not None), None)
    if fence_id is None:
        raise _fault("it is missing", where, "id")
    if fence_id.startswith(RESERVED):
        raise _fault(
            f"ids that begin with {RESERVED} are of fences made for shipments", where, "id"
        )
    shape, notes = _shape(given.shape, _joined(where, "shape") if shape_at is None else shape_at)
    effective_from_us = None if given.effective_from is None else to_us(given.effective_from)
    if effective_from_us is not None and effective_from_us < 0:
        raise _fault("times reach from 1970 on", where, "effective_from")
    return FenceDraft(
        id=fence_id,
        name=given.name if given.name is not None else fence_id,
        shape=shape,
        document=_stored(_document(given.shape, shape, notes), "shape", where),
        options=_options(given, where),
        attrs=stored_json(given.attrs, "attrs", where),
        notes=tuple(notes),
        effective_from_us=effective_from_us,
    )


def _shape(given: Mapping[str, object], where: str) -> tuple[Shape, list[str]]:
    try:
        return shape_of(given, where=where)
    except ShapeError as exc:
        raise InputError(str(exc), field=exc.field or None) from None


def _document(given: Mapping[str, object], shape: Shape, notes: list[str]) -> dict[str, object]:
    """The shape as it is told back: as it was given, or as it is now if something was mended."""
    if notes and shape.kind is not Kind.CELLS:
        return definition_of(shape)
    return {name: given[name] for name in _MEMBERS if name in given}


def _options(given: FenceInput, where: str) -> FenceOptions:
    return FenceOptions(
        layer=given.layer,
        buffers=_as(Buffers, given.buffers),
        dwell_s=given.dwell_s,
        speed_limit_mps=given.speed_limit_mps,
        schedule=_schedule(given.schedule, where),
        applies_to=_as(Audience, given.applies_to),
        normal=given.normal,
        crossed=given.crossed,
    )


def _as(kind: type[Any], given: msgspec.Struct | None) -> Any:  # noqa: ANN401 -- of that kind
    return kind() if given is None else msgspec.convert(given, kind, from_attributes=True)


def _schedule(given: ScheduleInput | None, where: str) -> Schedule | None:
    if given is None:
        return None
    windows = tuple(Window(w.start, w.end, w.days) for w in given.windows)
    schedule = Schedule(given.time_zone, windows)
    try:
        calendar(schedule)
    except InputError as exc:
        path = _INDEX.sub(r"[\1]", f"schedule.{exc.field}")
        raise _fault(str(exc), where, path) from None
    return schedule


def stored_json(attrs: Mapping[str, object], member: str, where: str = "") -> bytes:
    """Attributes as they are stored.

    Raises:
        InputError: they are too long, or hold what the database cannot keep.
    """
    encoded = _stored(attrs, member, where)
    if len(encoded) > MAX_ATTRS_BYTES:
        raise _fault(f"at most {MAX_ATTRS_BYTES:,} bytes of JSON", where, member)
    return encoded


def _stored(value: object, member: str, where: str) -> bytes:
    encoded = msgspec.json.encode(value)
    # What PostgreSQL cannot keep; an escaped backslash before it is text like any other.
    if b"\\u0000" in encoded.replace(b"\\\\", b""):
        raise _fault("text may not hold U+0000", where, member)
    return encoded


def _fault(message: str, where: str, member: str) -> InputError:
    field = _joined(where, member)
    return InputError(f"{field}: {message}" if field else message, field=field or None)


def _joined(where: str, member: str) -> str:
    if not where or not member:
        return where or member
    return f"{where}{member}" if member.startswith("[") else f"{where}.{member}"
