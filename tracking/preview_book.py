"""Fences as they would be if drafts had been saved: the book a preview folds among. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from geofence.shapes import bounds, to_columns
from tracking.fencebook import Bounds, FenceBook, FenceRows, VersionRow, padded
from tracking.fences import Audience, FenceDraft, machine_number
from tracking.fold.terrain import Terrain
from tracking.times import iso

# Numbers that no stored fence has, above all that have one: new fences come last among equals.
_FRESH = 2**62
_EVERYONE = Audience()


@dataclass(slots=True)
class Hypothesis:
    """The fences of a preview, compiled, and who may meet those it is about.

    `numbers` are the drafts' fences in the book; the others are neighbours of their layers.
    """

    terrain: Terrain
    ids: frozenset[str]
    numbers: frozenset[int]
    machines: frozenset[int]  # of every fence in the book
    bounds: list[Bounds]  # of the drafts' ground, now and before, with room for one step
    audiences: tuple[Audience, ...] | None  # None: everyone
    edits: bool  # some draft is of a fence that is there, so a device may already be in it
    layered: bool
    homes: bool  # some draft is where devices should be: whoever is elsewhere is concerned
    notes: list[str]


@dataclass(slots=True)
class _Plan:
    rows: list[VersionRow] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)  # of the drafts, by id
    notes: list[str] = field(default_factory=list)


def suppose(
    drafts: Sequence[FenceDraft],
    stored: Sequence[tuple[VersionRow, bytes]],
    start_us: int,
) -> Hypothesis:
    """The fences after saving `drafts` so that they hold from `start_us` on.

    `stored` are all versions, with their attributes, of fences with the drafts' ids, and of those
    that share a layer with them. Where saving would be refused because a stored version starts
    later, the draft takes its place, and a note says so.
    """
    plan = _Plan()
    versions: dict[str, list[tuple[VersionRow, bytes]]] = {}
    for row, attrs in stored:
        versions.setdefault(row.id, []).append((row, attrs))
    for i, draft in enumerate(drafts):
        _draw(plan, draft, versions.pop(draft.id, []), start_us, _FRESH + i)
    plan.rows += [row for rows in versions.values() for row, _ in rows]
    book = FenceBook()
    plan.rows.sort(key=lambda row: (row.number, row.version))
    book.apply(FenceRows(1, plan.rows))
    terrain = Terrain(book)
    numbers = frozenset(plan.numbers.values())
    own = [fence for fence in book.fences.values() if fence.number in numbers]
    audiences = {fence.options.applies_to for fence in own}
    return Hypothesis(
        terrain=terrain,
        ids=frozenset(plan.numbers),
        numbers=numbers,
        machines=frozenset(map(machine_number, book.fences.values())),
        bounds=[padded(bounds(fence.shape)) for fence in own],
        audiences=None if _EVERYONE in audiences else tuple(audiences),
        edits=any(number < _FRESH for number in numbers),
        layered=any(fence.options.layer is not None for fence in own),
        homes=any(fence.options.normal == "inside" for fence in own),
        notes=plan.notes,
    )


def _draw(
    plan: _Plan,
    draft: FenceDraft,
    stored: list[tuple[VersionRow, bytes]],
    start_us: int,
    fresh: int,
) -> None:
    """Put a draft into the plan, behind what remains of the versions stored of its fence."""
    plan.notes += [f"{draft.id}: {note}" for note in draft.notes]
    # Sent back as it was told, the start of the version it replaces is no wish.
    told_us = stored[-1][0].from_us if stored else start_us
    if draft.effective_from_us not in {None, start_us, told_us}:
        plan.notes.append(f"{draft.id}: its effective_from is put aside for the preview's start")
    if not stored:
        plan.numbers[draft.id] = fresh
        plan.rows.append(_row(draft, fresh, 1, start_us, start_us))
        return
    last, attrs = stored[-1]
    plan.numbers[draft.id] = last.number
    if last.to_us is None and last.from_us <= start_us and _says_the_same(draft, last, attrs):
        plan.rows += [row for row, _ in stored]
        plan.notes.append(f"{draft.id}: it is version {last.version} as stored")
        return
    edge_us = last.from_us + 1 if last.to_us is None else last.to_us
    if start_us < edge_us:
        verb = "starts" if last.to_us is None else "ended"
        told = last.from_us if last.to_us is None else last.to_us
        plan.notes.append(
            f"{draft.id}: version {last.version} {verb} at {iso(told)}, so it cannot be saved to "
            f"hold from {iso(start_us)}; the preview shows it as if it could"
        )
    created_us = min(last.created_us, start_us)
    for row, _ in stored:
        if row.from_us < start_us:
            ends = start_us if row.to_us is None else min(row.to_us, start_us)
            plan.rows.append(row._replace(created_us=created_us, to_us=ends))
    plan.rows.append(_row(draft, last.number, last.version + 1, created_us, start_us))


def _row(draft: FenceDraft, number: int, version: int, created_us: int, from_us: int) -> VersionRow:
    (kind,), (wkb,), (radius_m,) = to_columns([draft.shape])
    options = msgspec.json.encode(draft.options)
    return VersionRow(
        number, draft.id, draft.name, version, created_us, from_us, None, kind, wkb, radius_m,
        options,
    )  # fmt: skip


def _says_the_same(draft: FenceDraft, row: VersionRow, attrs: bytes) -> bool:
    """Whether saving the draft would change nothing."""
    wanted = _row(draft, row.number, row.version, row.created_us, row.from_us)
    decode = msgspec.json.decode
    return (
        wanted._replace(options=row.options) == row
        and decode(row.options, type=type(draft.options)) == draft.options
        and decode(attrs) == decode(draft.attrs)
    )
