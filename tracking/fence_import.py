"""Files of fences (GeoJSON, TopoJSON, KML, KMZ, WKT) as fences that can be saved. No I/O."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from geofence.formats import Draft, FormatError, read
from tracking.errors import InputError
from tracking.fence_bulk import Bulk
from tracking.fence_input import draft_of
from tracking.fences import FenceDraft

_NO_ID = re.compile(r"[^A-Za-z0-9._:]+")
_CONTROLS = re.compile(r"[\x00-\x1f]+")
_MAX_ID, _MAX_NAME = 128, 256
# The numbers that make equal names different have room.
_ROOM = 8


def read_import(
    data: bytes,
    *,
    name: str,
    format_name: str | None = None,
    prefix: str = "",
    layer: str | None = None,
    step: Callable[[int, int], None] = lambda _done, _total: None,
) -> Bulk:
    """The fences of a file called `name`. The same file always gives the same ids.

    A fence's id is what the file says, as a plain word; without one its name, with a number where
    several have that name. `prefix` is put in front of all; `layer` is the layer of all. `step` is
    told how many are done, of how many.

    Raises:
        InputError: the file as a whole cannot be read.
    """
    try:
        drafts = list(read(data, name=name, format_name=format_name))
    except FormatError as exc:
        raise InputError(str(exc), field="format" if format_name else None) from None
    bulk = Bulk()
    ids = _Ids(prefix, drafts)
    for i, draft in enumerate(drafts):
        id_ = ids.of(draft)
        bulk.add(partial(_fence, draft, id_, layer), where=draft.where, id_=partial(_given, id_))
        step(i + 1, len(drafts))
    return bulk


class _Ids:
    """Gives every fence of a file its id."""

    def __init__(self, prefix: str, drafts: Sequence[Draft]) -> None:
        self._prefix = prefix
        self._taken = {self._word(draft.id) for draft in drafts if draft.id is not None}
        self._met: Counter[str] = Counter()

    def of(self, draft: Draft) -> str:
        """The id the file says, or one of the name."""
        if draft.id is not None and (given := self._word(draft.id)):
            return given
        word = self._word(draft.name) or self._word(draft.where) or "fence"
        id_ = word
        while id_ in self._taken:
            self._met[word] += 1
            id_ = f"{word}-{self._met[word] + 1}"
        self._taken.add(id_)
        return id_

    def _word(self, text: str) -> str:
        plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
        word = _NO_ID.sub("-", plain).strip("-._:")
        return (self._prefix + word)[: _MAX_ID - _ROOM] if word else ""


def _given(id_: str) -> str | None:
    return id_


def _fence(draft: Draft, id_: str, layer: str | None) -> FenceDraft:
    if draft.error is not None:
        raise InputError(str(draft.error), field=draft.error.field or None)
    name = " ".join(_CONTROLS.sub(" ", draft.name).split())[:_MAX_NAME]
    members = {**draft.options, "id": id_, "name": name or id_, "attrs": draft.attrs}
    if layer is not None:
        members["layer"] = layer
    return draft_of(draft.definition or {}, members, where=draft.where)
