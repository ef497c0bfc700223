"""What replay says the server will refuse is what the server's decoder does refuse."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.decode import Decoder
from ingest.mqtt import Message
from waymark.replay.mapping import RowMapper
from waymark.replay.named import choose
from waymark.replay.reading import encode

NUMBER = st.one_of(
    st.sampled_from(["", "0", "-0.0", "180", "180.0001", "-90", "90", "91", "nan", "inf", "1e300"]),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.text(max_size=4),
)
TIME = st.one_of(
    st.sampled_from(
        [
            "",
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:00:00+14:00",
            "2026-01-01",
            "1970-01-01T00:00:00Z",
            "2004-12-31T23:59:59Z",
            "2005-01-01T00:00:00Z",
            "2101-01-01T00:00:00Z",
            "0",
            "1767225600",
            "1767225600.5",
            "1767225600000",
            "-5",
            "now",
        ]
    ),
    st.integers(0, 10**19).map(str),
    st.text(max_size=6),
)
Cells = dict[str, object]


@given(
    st.fixed_dictionaries(
        {
            "t": TIME,
            "lon": NUMBER,
            "lat": NUMBER,
            "speed_mps": NUMBER,
            "course_deg": NUMBER,
            "battery": NUMBER,
        }
    )
)
def test_the_decoder_refuses_exactly_what_was_foretold(cells: Cells) -> None:
    columns = ["device", *cells]
    mapper = RowMapper(choose(columns), columns)
    row = mapper.row(1, {"device": "van", **cells})
    (reading,) = row.readings
    message = Message(b"wm/default/van/pos", encode(reading), 1, 1_767_225_600_000_000)
    found = Decoder().decode([message])
    assert [rejection.reason for rejection in found.rejects] == (
        [] if reading.fault is None else [reading.fault]
    )
    if reading.fault is None:
        assert found.positions.fix_time_us.tolist() == [reading.fix_time_us]
        assert found.positions.lon.tolist() == [reading.values["lon"]]
