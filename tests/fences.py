"""Fences for tests, without a database."""

from collections.abc import Iterable

import msgspec
import shapely

from tracking.fencebook import FenceBook, FenceRows
from tracking.fences import FenceVersion


def book_of(versions: Iterable[FenceVersion]) -> FenceBook:
    """A book of these versions, as if read from the database."""
    book = FenceBook()
    rows = [
        (
            fence.number, fence.id, fence.name, fence.version, fence.created_us, fence.from_us,
            fence.to_us, fence.shape.kind.value, shapely.to_wkb(fence.shape.geometry),
            fence.shape.radius_m, msgspec.json.encode(fence.options),
        )
        for fence in versions
    ]  # fmt: skip
    book.apply(FenceRows(1, rows))
    return book
