"""Writing fences: versions that begin and end, in one transaction for any number of fences."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from geofence.shapes import bounds, to_columns
from tracking.errors import InputError
from tracking.fences import FenceDraft, Saved
from tracking.store.arrays import Blobs, Float8s, Int4s, Int8s, Times, texts
from tracking.store.connection import Connection
from tracking.store.fences import US
from tracking.times import iso

# Editors of one tenant's fences wait for each other here, and not at the tenant's row, at which
# all of ingest would wait with them: the row is taken for the last statement only.
_LOCK_SPACE = 0x6665  # "fe"

_KNOWN = f"""
SELECT k.i - 1, f.number, f.version, f.deleted_at IS NOT NULL, {US.format("v.valid_from")},
    {US.format("v.valid_to")}, v.digest
FROM unnest(%s) WITH ORDINALITY k(id, i)
JOIN fence f ON f.tenant_id = %s AND f.id = k.id
JOIN fence_version v ON v.fence_number = f.number AND v.version = f.version
"""  # noqa: S608 -- of constants

_CREATE = """
INSERT INTO fence (tenant_id, id, version, since)
SELECT %s, k.id, 0, k.since FROM unnest(%s, %s) k(id, since) RETURNING id, number
"""

_END = """
UPDATE fence_version v SET valid_to = k.valid_to, revision = %s, revised_at = now()
FROM unnest(%s, %s, %s) k(number, version, valid_to)
WHERE v.fence_number = k.number AND v.version = k.version
"""

_BEGIN = """
INSERT INTO fence_version (tenant_id, revision, recorded_by, fence_number, version, valid_from,
    digest, name, shape, options, attrs, notes, kind, geometry, radius_m, min_lon, min_lat,
    max_lon, max_lat)
SELECT %(tenant_id)s, %(revision)s, %(author)s, number, version, valid_from, digest, name,
    shape::jsonb, options::jsonb, attrs::jsonb,
    ARRAY(SELECT jsonb_array_elements_text(notes::jsonb)), kind, geometry, radius_m, west, south,
    east, north
FROM unnest(%(number)s, %(version)s, %(valid_from)s, %(digest)s, %(name)s, %(shape)s, %(options)s,
    %(attrs)s, %(notes)s, %(kind)s, %(geometry)s, %(radius_m)s, %(west)s, %(south)s, %(east)s,
    %(north)s) k(number, version, valid_from, digest, name, shape, options, attrs, notes, kind,
    geometry, radius_m, west, south, east, north)
"""

_RENEW = """
UPDATE fence f SET version = k.version, deleted_at = NULL
FROM unnest(%s, %s) k(number, version) WHERE f.number = k.number
"""

_DELETE = """
WITH gone AS (
    UPDATE fence SET deleted_at = now()
    WHERE tenant_id = %(tenant_id)s AND id = ANY(%(ids)s) AND deleted_at IS NULL
        AND (%(only)s::integer[] IS NULL OR version = ANY(%(only)s))
    RETURNING number, version, id)
UPDATE fence_version v
SET valid_to = GREATEST(clock_timestamp(), v.valid_from), revision = %(revision)s,
    revised_at = now()
FROM gone WHERE v.fence_number = gone.number AND v.version = gone.version
RETURNING gone.id
"""


class Edit(NamedTuple):
    """The tenant's revision after an edit, and what became of each fence, in the order given."""

    revision: int
    saved: list[Saved]


class Deletion(NamedTuple):
    """The tenant's revision after a deletion, and the ids of the fences there were."""

    revision: int
    ids: list[str]


class _Known(NamedTuple):
    """A fence as it is stored."""

    number: int
    version: int
    deleted: bool
    from_us: int
    to_us: int | None
    digest: bytes


async def save_fences(
    conn: Connection,
    tenant_id: int,
    drafts: Sequence[FenceDraft],
    *,
    author: str | None,
    effective_from_us: int | None = None,
    partial: bool = False,
    dry_run: bool = False,
) -> Edit:
    """Save each draft as its fence's newest version; one that says nothing new changes nothing.

    A version starts at the draft's `effective_from_us`, else at the one given here, else now; the
    one before ends there. If one is refused none is saved, unless `partial`; nothing is with
    `dry_run`, which tells what would become of them.

    Raises:
        InputError: an id is there twice.
    """
    if len({draft.id for draft in drafts}) < len(drafts):
        raise InputError("every id may be there once", field="id")
    async with conn.transaction():
        revision, now_us = await _locked(conn, tenant_id)
        known = await _known(conn, tenant_id, [draft.id for draft in drafts])
        digests = _digests(drafts)
        plans = [
            _plan(draft, known.get(i), digests[i], now_us, effective_from_us)
            for i, draft in enumerate(drafts)
        ]
        if not partial and any(saved.outcome == "refused" for saved, _ in plans):
            return Edit(revision, [saved.held_back() for saved, _ in plans])
        changed = [
            i for i, (saved, _) in enumerate(plans) if saved.outcome in {"created", "changed"}
        ]
        if changed and not dry_run:
            revision += 1
            writer = _Writer(conn, tenant_id, revision, author)
            await writer.write(
                [drafts[i] for i in changed],
                [known.get(i) for i in changed],
                [digests[i] for i in changed],
                [plans[i][1] for i in changed],
            )
            await _raise(conn, tenant_id, revision)
        return Edit(revision, [saved for saved, _ in plans])


async def delete_fences(
    conn: Connection,
    tenant_id: int,
    ids: Sequence[str],
    *,
    only_over: Sequence[int] | None = None,
) -> Deletion:
    """End the fences now, those in one of the versions `only_over` if that is given.

    Their versions stay, and a draft with the same id revives them.
    """
    async with conn.transaction():
        revision, _ = await _locked(conn, tenant_id)
        cursor = await conn.execute(
            _DELETE,
            {
                "tenant_id": tenant_id,
                "ids": list(ids),
                "revision": revision + 1,
                "only": None if only_over is None else list(only_over),
            },
        )
        gone = sorted(row[0] for row in await cursor.fetchall())
        if gone:
            revision += 1
            await _raise(conn, tenant_id, revision)
        return Deletion(revision, gone)


async def raise_revision(conn: Connection, tenant_id: int) -> int:
    """Have workers look again, within the caller's transaction; for edits of groups and tags."""
    revision, _ = await _locked(conn, tenant_id)
    await _raise(conn, tenant_id, revision + 1)
    return revision + 1


async def _locked(conn: Connection, tenant_id: int) -> tuple[int, int]:
    """Keep other editors out until the end of the transaction; the revision, and the time."""
    await conn.execute("SELECT pg_advisory_xact_lock(%s, %s)", (_LOCK_SPACE, tenant_id))
    cursor = await conn.execute(
        f"SELECT fence_revision, {US.format('clock_timestamp()')} FROM tenant WHERE id = %s",  # noqa: S608
        (tenant_id,),
    )
    row = await cursor.fetchone()
    if row is None:
        raise InputError(f"there is no tenant {tenant_id}", field="tenant")
    return row[0], row[1]


async def _raise(conn: Connection, tenant_id: int, revision: int) -> None:
    """Show the edit to the workers; the last act, as the row is ingest's too."""
    await conn.execute("UPDATE tenant SET fence_revision = %s WHERE id = %s", (revision, tenant_id))


async def _known(conn: Connection, tenant_id: int, ids: Sequence[str]) -> dict[int, _Known]:
    """Those of the fences that are there, deleted ones too, by their place in `ids`."""
    cursor = await conn.execute(_KNOWN, (texts(ids), tenant_id), binary=True)
    return {row[0]: _Known(*row[1:]) for row in await cursor.fetchall()}


def _plan(
    draft: FenceDraft,
    known: _Known | None,
    digest: bytes,
    now_us: int,
    default_from_us: int | None,
) -> tuple[Saved, int]:
    """What is to become of a draft, and the moment its version starts."""
    lives = known is not None and not known.deleted
    version = 0 if known is None else known.version
    if draft.only_over is not None and (version if lives else 0) not in draft.only_over:
        return _refused_version(draft, known if lives else None), 0
    if known is not None and lives and known.digest == digest:
        return Saved(draft.id, "unchanged", version), 0
    start_us = draft.effective_from_us
    if start_us is None:
        start_us = default_from_us
    # Sent back as it was told: the start of the version it replaces is no wish for this one.
    if start_us is None or (known is not None and start_us == known.from_us):
        start_us = now_us
    if known is not None:
        earliest_us = known.from_us + 1 if known.to_us is None else known.to_us
        if start_us < earliest_us:
            return _refused_start(draft, known, start_us), 0
    return Saved(draft.id, "changed" if lives else "created", version + 1), start_us


def _refused_version(draft: FenceDraft, known: _Known | None) -> Saved:
    if draft.only_over == (0,):
        version = 0 if known is None else known.version
        detail = f"fence {draft.id!r} is there already: PUT changes it"
        return Saved(draft.id, "refused", version, detail, "id", "exists")
    is_now = "is not there" if known is None else f"has version {known.version}"
    wanted = " or ".join(map(str, draft.only_over or ()))
    detail = f"fence {draft.id!r} {is_now}, not {wanted}: read it again"
    version = 0 if known is None else known.version
    return Saved(draft.id, "refused", version, detail, "If-Match", "other_version")


def _refused_start(draft: FenceDraft, known: _Known, start_us: int) -> Saved:
    verb, edge_us = ("starts", known.from_us) if known.to_us is None else ("ended", known.to_us)
    detail = (
        f"version {known.version} of fence {draft.id!r} {verb} at {iso(edge_us)}: the next cannot "
        f"hold from {iso(start_us)}"
    )
    return Saved(draft.id, "refused", known.version, detail, "effective_from", "too_early")


def _digests(drafts: Sequence[FenceDraft]) -> list[bytes]:
    """What two definitions that mean the same share, however they were written."""
    digests = []
    _, wkbs, _ = to_columns([draft.shape for draft in drafts])
    for draft, wkb in zip(drafts, wkbs, strict=True):
        parts = (
            draft.name.encode(),
            draft.shape.kind.encode(),
            repr(draft.shape.radius_m).encode(),
            wkb,
            msgspec.json.encode(draft.options),
            msgspec.json.encode(msgspec.json.decode(draft.attrs), order="sorted"),
        )
        digest = hashlib.blake2b(digest_size=16)
        for part in parts:
            digest.update(len(part).to_bytes(8, "big") + part)
        digests.append(digest.digest())
    return digests


class _Writer:
    """The statements of one edit."""

    def __init__(self, conn: Connection, tenant_id: int, revision: int, author: str | None) -> None:
        self._conn = conn
        self._tenant_id = tenant_id
        self._revision = revision
        self._author = author

    async def write(
        self,
        drafts: Sequence[FenceDraft],
        known: Sequence[_Known | None],
        digests: Sequence[bytes],
        starts_us: Sequence[int],
    ) -> None:
        """Begin a version of each draft at its start; end those before them."""
        numbers = await self._numbers(drafts, known, starts_us)
        versions = [1 if old is None else old.version + 1 for old in known]
        await self._end(known, starts_us)
        await self._begin(drafts, numbers, versions, digests, starts_us)
        await self._conn.execute(_RENEW, (Int8s(numbers), Int4s(versions)))

    async def _numbers(
        self,
        drafts: Sequence[FenceDraft],
        known: Sequence[_Known | None],
        starts_us: Sequence[int],
    ) -> list[int]:
        """The fences' numbers, after those that are new were made."""
        new = [i for i, old in enumerate(known) if old is None]
        cursor = await self._conn.execute(
            _CREATE,
            (
                self._tenant_id,
                texts([drafts[i].id for i in new]),
                Times([starts_us[i] for i in new]),
            ),
        )
        made: dict[str, int] = dict(await cursor.fetchall())
        return [
            made[draft.id] if old is None else old.number
            for draft, old in zip(drafts, known, strict=True)
        ]

    async def _end(self, known: Sequence[_Known | None], starts_us: Sequence[int]) -> None:
        """End the versions that held until now; a deleted fence's has ended."""
        ended = [
            (old, start)
            for old, start in zip(known, starts_us, strict=True)
            if old is not None and old.to_us is None
        ]
        await self._conn.execute(
            _END,
            (
                self._revision,
                Int8s([old.number for old, _ in ended]),
                Int4s([old.version for old, _ in ended]),
                Times([start for _, start in ended]),
            ),
        )

    async def _begin(
        self,
        drafts: Sequence[FenceDraft],
        numbers: list[int],
        versions: list[int],
        digests: Sequence[bytes],
        starts_us: Sequence[int],
    ) -> None:
        kinds, wkbs, radii = to_columns([draft.shape for draft in drafts])
        box = np.array([bounds(draft.shape) for draft in drafts])
        columns = {
            "number": Int8s(numbers),
            "version": Int4s(versions),
            "valid_from": Times(starts_us),
            "digest": Blobs(digests),
            "name": texts([draft.name for draft in drafts]),
            "shape": texts([draft.document.decode() for draft in drafts]),
            "options": texts([msgspec.json.encode(draft.options).decode() for draft in drafts]),
            "attrs": texts([draft.attrs.decode() for draft in drafts]),
            "notes": texts([msgspec.json.encode(draft.notes).decode() for draft in drafts]),
            "kind": texts(kinds),
            "geometry": Blobs(wkbs),
            "radius_m": Float8s(radii),
        }
        columns |= {
            side: Float8s(box[:, i]) for i, side in enumerate(("west", "south", "east", "north"))
        }
        known = {"tenant_id": self._tenant_id, "revision": self._revision, "author": self._author}
        await self._conn.execute(_BEGIN, known | columns)
