"""Many fences at once: those that can be saved, those that cannot, and what became of each."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from tracking.errors import InputError
from tracking.fence_input import read_fence
from tracking.fences import FenceDraft, Outcome, Saved


class _Named(msgspec.Struct):
    id: str | None = None


_named = msgspec.json.Decoder(_Named)


class BulkItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one of many fences; `notes` is what was repaired in its shape."""

    id: str | None
    outcome: Outcome
    version: int | None = None
    notes: tuple[str, ...] = ()
    field: str | None = None
    detail: str | None = None


class Fault(NamedTuple):
    """A fence that cannot be saved, by its place among the others."""

    place: int
    id: str | None
    error: InputError


class Bulk:
    """Fences in the order they were given; `drafts` are those that can be saved."""

    def __init__(self) -> None:
        self.drafts: list[FenceDraft] = []
        self.faults: list[Fault] = []
        self._places: list[int] = []
        self._ids: set[str] = set()

    def __len__(self) -> int:
        return len(self.drafts) + len(self.faults)

    def add(
        self,
        read: Callable[[], FenceDraft],
        *,
        where: str,
        id_: Callable[[], str | None] = lambda: None,
    ) -> None:
        """Take the next fence; `read` raises InputError where it is none, `id_` tells its id."""
        place = len(self)
        try:
            draft = read()
            if draft.id in self._ids:
                raise InputError(  # noqa: TRY301 -- one way to keep a fault
                    f"{where}.id: {draft.id!r} is there twice", field=f"{where}.id"
                )
        except InputError as exc:
            self.faults.append(Fault(place, id_(), exc))
            return
        self._ids.add(draft.id)
        self.drafts.append(draft)
        self._places.append(place)

    def told(self, saved: Sequence[Saved]) -> list[BulkItem]:
        """What became of each, in the order they were given; `saved` is of `drafts`."""
        items: dict[int, BulkItem] = {
            fault.place: BulkItem(
                fault.id, "refused", field=fault.error.field, detail=str(fault.error)
            )
            for fault in self.faults
        }
        for place, draft, one in zip(self._places, self.drafts, saved, strict=True):
            items[place] = BulkItem(
                one.id, one.outcome, one.version or None, draft.notes, one.field, one.detail
            )
        return [items[place] for place in range(len(self))]


def read_bulk(raws: Sequence[msgspec.Raw], member: str) -> Bulk:
    """Fences out of JSON, element by element of the list `member`."""
    bulk = Bulk()
    for i, raw in enumerate(raws):
        where = f"{member}[{i}]"
        bulk.add(partial(read_fence, raw, where=where), where=where, id_=partial(_id_in, raw))
    return bulk


def _id_in(raw: msgspec.Raw) -> str | None:
    """What a fence that could not be read calls itself."""
    try:
        return _named.decode(raw).id
    except (msgspec.DecodeError, RecursionError):
        return None


def counts(items: Sequence[BulkItem]) -> dict[str, int]:
    """How many became what; `repaired` counts those with notes among all that were not refused."""
    outcomes: tuple[Outcome, ...] = ("created", "changed", "unchanged", "refused")
    found = {outcome: sum(item.outcome == outcome for item in items) for outcome in outcomes}
    return found | {"repaired": sum(bool(item.notes) for item in items)}
