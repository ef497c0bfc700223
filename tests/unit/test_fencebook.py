"""The fences of a tenant in memory."""

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import box

from tracking.fencebook import FenceBook, FenceRows

FENCE_7 = (5.0, 52.0, 5.2, 52.2)
FENCE_8 = (6.0, 53.0, 6.2, 53.2)

Row = tuple[int, str, str, int, int, int, int | None, str, bytes, float, bytes]


def row(
    number: int = 7,
    version: int = 1,
    from_us: int = 100,
    to_us: int | None = None,
    bounds: tuple[float, float, float, float] = FENCE_7,
) -> Row:
    wkb = shapely.to_wkb(box(*bounds))
    return (number, f"f{number}", "F", version, 100, from_us, to_us, "polygon", wkb, 0.0, b"{}")


def book_of(*rows: Row, revision: int = 1) -> FenceBook:
    book = FenceBook()
    book.apply(FenceRows(revision, rows))
    return book


def members(book: FenceBook, lon: float, lat: float) -> list[tuple[int, int]]:
    """The number and version of each fence at a place."""
    fences = [book.fences[zone] for zone in book.index.at(lon, lat)]
    return [(fence.number, fence.version) for fence in fences]


def test_an_empty_book_answers() -> None:
    book = FenceBook()
    assert book.index.at(5.1, 52.1) == []
    assert (book.current(7), book.at(7, 100), book.versions(7)) == (None, None, [])
    changes = book.apply(FenceRows(3, []))
    assert (book.revision, changes.numbers, changes.bounds, changes.zones) == (3, [], [], [])


def test_every_version_is_a_zone_of_its_own() -> None:
    book = book_of(
        row(version=1, to_us=200), row(version=2, from_us=200, bounds=FENCE_8), row(8, version=1)
    )
    assert members(book, 5.1, 52.1) == [(7, 1), (8, 1)]
    assert members(book, 6.1, 53.1) == [(7, 2)]
    assert len(set(book.fences)) == 3


def test_a_version_holds_from_its_start_until_before_its_end() -> None:
    book = book_of(row(from_us=100, to_us=200), row(version=3, from_us=300))
    first, second = book.at(7, 100), book.at(7, 300)
    assert first is not None
    assert second is not None
    assert [book.at(7, t) for t in (99, 199, 200, 299, 10**15)] == [None, first, None, None, second]
    assert [book.last_before(7, t) for t in (99, 299, 300)] == [None, first, second]
    assert book.current(7) == second
    assert [fence.version for fence in book.versions(7)] == [1, 3]


def test_a_deleted_fence_has_no_current_version() -> None:
    book = book_of(row(to_us=200))
    assert book.current(7) is None
    assert book.at(7, 150) is not None


def test_an_edit_tells_what_it_changed_and_since_when() -> None:
    book = book_of(row(), row(8, bounds=FENCE_8))
    old = book.at(7, 100)
    moved = (7.0, 52.0, 7.2, 52.2)
    changes = book.apply(FenceRows(2, [row(to_us=500), row(version=2, from_us=500, bounds=moved)]))
    assert (changes.numbers, changes.since_us) == ([7], 500)
    assert changes.bounds == [FENCE_7, moved]
    assert changes.zones == [old, book.at(7, 500)]
    assert members(book, 7.1, 52.1) == [(7, 2)]


def test_the_same_rows_again_change_nothing() -> None:
    rows = [row(to_us=500), row(version=2, from_us=500)]
    book = book_of(*rows)
    index, fences = book.index, dict(book.fences)
    changes = book.apply(FenceRows(1, rows))
    assert (changes.numbers, changes.zones) == ([], [])
    assert book.index is index
    assert book.fences == fences


def test_what_was_replaced_stays_valid_for_whoever_holds_it() -> None:
    book = book_of(row())
    index = book.index
    book.apply(FenceRows(2, [row(8)]))
    assert index.at(5.1, 52.1) == [0]
    assert book.index.at(5.1, 52.1) == [0, 1]


def test_what_is_prepared_changes_nothing_until_it_is_taken() -> None:
    book = book_of(row())
    index = book.index
    prepared = book.prepared(FenceRows(2, [row(to_us=500), row(version=2, from_us=500), row(8)]))
    assert (book.index, book.revision, len(book.fences)) == (index, 1, 1)
    assert book.at(7, 10**15) == 0
    changes = book.take(prepared)
    assert (changes.numbers, changes.zones) == ([7, 8], [0, 1, 2])
    assert (book.at(7, 10**15), book.at(8, 10**15)) == (1, 2)
    with pytest.raises(ValueError, match="changed since"):
        book.take(prepared)


def test_a_compacted_index_is_used_unless_the_fences_changed_meanwhile() -> None:
    book = book_of(row())
    book.apply(FenceRows(2, [row(8)]))
    before = book.index
    after = before.compact()
    assert book.compacted(before, after)
    assert book.index is after
    assert members(book, 5.1, 52.1) == [(7, 1), (8, 1)]
    book.apply(FenceRows(3, [row(9)]))
    assert not book.compacted(after, after.compact())
    assert members(book, 5.1, 52.1) == [(7, 1), (8, 1), (9, 1)]


def test_versions_that_ended_may_be_dropped() -> None:
    book = book_of(row(to_us=200), row(version=2, from_us=200), row(8, to_us=300))
    gone = book.retire(200)
    assert [(fence.number, fence.version) for fence in book.fences.values()] == [(7, 2), (8, 1)]
    assert len(gone) == 1
    assert members(book, 5.1, 52.1) == [(7, 2), (8, 1)]
    book.retire(300)
    assert book.versions(8) == []
    # No zone is given twice.
    book.apply(FenceRows(2, [row(9)]))
    assert book.current(9) not in gone


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), max_size=12), st.data())
def test_it_does_not_matter_in_which_portions_rows_come(
    keys: list[tuple[int, int]], data: st.DataObject
) -> None:
    rows = [
        row(
            n,
            v,
            100 * v,
            100 * v + 50,
            bounds=(5 - n / 100, 52 - v / 100, 5.2 + v / 100, 52.2 + n / 100),
        )
        for n, v in dict.fromkeys(keys)
    ]
    whole, parts = book_of(*rows), FenceBook()
    for one in data.draw(st.permutations(rows)):
        parts.apply(FenceRows(1, [one]))

    def told(book: FenceBook) -> object:
        return {n: [(f.version, f.from_us, f.to_us) for f in book.versions(n)] for n in range(5)}

    assert told(whole) == told(parts)
    assert sorted(members(whole, 5.1, 52.1)) == sorted(members(parts, 5.1, 52.1))
