"""Pagination cursors come back as they went out, and nothing else is taken for one."""

import base64
from functools import partial
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.conventions.cursors import (
    name_cursor,
    number_cursor,
    read_name_cursor,
    read_number_cursor,
    read_time_cursor,
    time_cursor,
)
from api.conventions.problems import Problem
from tracking.store.backfills import BackfillKey
from tracking.store.measurements import MeasurementKey
from tracking.store.positions import PositionKey
from tracking.store.trips import TripKey
from tracking.times import from_us

INT8 = st.integers(-(2**63), 2**63 - 1)


@given(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1))
def test_a_name_survives(name: str) -> None:
    assert read_name_cursor(name_cursor(name[:200])) == name[:200]


@given(INT8)
def test_a_number_survives(number: int) -> None:
    assert read_number_cursor(number_cursor(number)) == number


@given(st.integers(0, 253_402_300_799_999_999), INT8, st.uuids())
def test_keys_of_lists_by_time_survive(time_us: int, number: int, id_: UUID) -> None:
    position, backfill = PositionKey(from_us(time_us), number), BackfillKey(from_us(time_us), id_)
    assert read_time_cursor(time_cursor(position), PositionKey) == position
    assert read_time_cursor(time_cursor(backfill), BackfillKey) == backfill


def test_a_key_of_one_list_is_none_of_another() -> None:
    trip = time_cursor(TripKey(from_us(1), "van-7"))
    assert read_time_cursor(trip, TripKey) == TripKey(from_us(1), "van-7")
    with pytest.raises(Problem):
        read_time_cursor(trip, MeasurementKey)


def test_no_cursor_is_the_beginning() -> None:
    assert read_name_cursor(None) is None
    assert read_number_cursor(None) is None
    assert read_time_cursor(None, PositionKey) is None


# Hypothesis draws constants of the code too, among them the cursors of examples, which begin so.
@given(st.text(max_size=60).filter(lambda text: not text.startswith("WyJ")))
def test_no_other_text_is_a_cursor(text: str) -> None:
    read_key_cursor = partial(read_time_cursor, kind=PositionKey)
    for read in (read_name_cursor, read_number_cursor, read_key_cursor):
        with pytest.raises(Problem) as caught:
            read(text)
        assert (caught.value.status, caught.value.field) == (400, "cursor")


def token(json: str) -> str:
    return base64.urlsafe_b64encode(json.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(token('["i", 1]'), id="spelled otherwise"),
        pytest.param(number_cursor(1) + "==", id="padded"),
        pytest.param(number_cursor(1)[:-1], id="cut"),
        pytest.param(token('["i",1,2]'), id="longer"),
        pytest.param(token('["i",1.5]'), id="a float"),
        pytest.param(token('["i",true]'), id="a truth"),
        pytest.param(token(f'["i",{2**63}]'), id="too large for the database"),
        pytest.param(name_cursor("a"), id="of another list"),
    ],
)
def test_an_edited_cursor_is_refused(text: str) -> None:
    with pytest.raises(Problem):
        read_number_cursor(text)


@pytest.mark.parametrize("json", ['["p",-1,0]', f'["p",{10**18},0]', '["p",0]'])
def test_a_time_no_datetime_can_hold_is_refused(json: str) -> None:
    with pytest.raises(Problem):
        read_time_cursor(token(json), PositionKey)
