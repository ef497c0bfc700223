"""Encoded polylines: the published example, both precisions, and what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.route.polyline import decode, encode

# From the description of the algorithm: (38.5, -120.2), (40.7, -120.95), (43.252, -126.453).
_PUBLISHED = "_p~iF~ps|U_ulLnnqC_mqNvxq`@"
_PLACES = [(-120.2, 38.5), (-120.95, 40.7), (-126.453, 43.252)]


def test_the_published_example() -> None:
    assert decode(_PUBLISHED) == _PLACES
    assert encode(_PLACES) == _PUBLISHED


@given(
    st.lists(
        st.tuples(st.integers(-180_000_000, 180_000_000), st.integers(-90_000_000, 90_000_000))
    )
)
def test_what_was_encoded_is_decoded(steps: list[tuple[int, int]]) -> None:
    places = [(lon / 1_000_000, lat / 1_000_000) for lon, lat in steps]
    assert decode(encode(places, 6), 6) == places


@pytest.mark.parametrize("text", ["_p~iF", "_p~iF~ps|", "_p~iF ps|U", "é", "~" * 8 + "?"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"it ends|no encoded polyline"):
        decode(text)
