"""A history cut into parts: nothing lost, nothing twice, whatever pieces it comes in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.backfills import MAX_LINE_BYTES, Cut, Cutter
from tracking.errors import InputError


def cuts_of(cutter: Cutter, pieces: list[bytes]) -> list[Cut]:
    found = [cutter.feed(piece) for piece in pieces]
    return [cut for cut in [*found, cutter.end()] if cut is not None]


@given(
    st.lists(st.binary(max_size=60_000).map(lambda raw: raw.replace(b"\n", b"")), max_size=12),
    st.lists(st.integers(1, 200_000), min_size=1, max_size=8),
)
def test_parts_are_whole_lines_in_order_with_their_numbers(
    lines: list[bytes], sizes: list[int]
) -> None:
    content = b"".join(line + b"\n" for line in lines)
    pieces, at, turn = [], 0, 0
    while at < len(content):
        pieces.append(content[at : at + sizes[turn % len(sizes)]])
        at, turn = at + sizes[turn % len(sizes)], turn + 1
    cutter = Cutter(alerts=False)
    cuts = cuts_of(cutter, pieces)
    assert b"".join(cut.payload for cut in cuts) == content
    assert cutter.lines == len(lines)
    assert [cut.number for cut in cuts] == list(range(len(cuts)))
    line = 1
    for cut in cuts:
        assert cut.payload.endswith(b"\n")
        assert cut.first_line == line
        line += cut.payload.count(b"\n")
    whole = Cutter(alerts=False)
    cuts_of(whole, [content])
    assert whole.digest == cutter.digest


def test_a_last_line_needs_no_end_and_alerts_make_another_content() -> None:
    quiet, loud = Cutter(alerts=False), Cutter(alerts=True)
    assert cuts_of(quiet, [b"a\nb"]) == [Cut(0, 1, b"a\nb\n")]
    assert cuts_of(loud, [b"a\nb"]) == [Cut(0, 1, b"a\nb\n")]
    assert quiet.digest != loud.digest
    assert cuts_of(Cutter(alerts=False), []) == []


def test_a_line_that_does_not_end_is_refused_by_its_number() -> None:
    cutter = Cutter(alerts=False)
    assert cutter.feed(b"a\nb\n" + b"x" * MAX_LINE_BYTES) == Cut(0, 1, b"a\nb\n")
    with pytest.raises(InputError, match="line 3 has more"):
        cutter.feed(b"xx")
