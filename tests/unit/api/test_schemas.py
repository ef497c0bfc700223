"""Query parameters beyond what the REST tests ask over the wire."""

import math
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from api.conventions.problems import Problem
from api.schemas.parameters import EventQuery, HistoryQuery, check_range, checked_bbox, parse_bbox
from tracking.quality import Quality
from tracking.store.devices import Bbox


@pytest.mark.parametrize(
    "text",
    ["2026-03-08T12:00:00Z", "2026-03-08T13:00:00+01:00", "20260308T120000Z", "2026-03-08T12Z"],
)
def test_a_time_may_be_any_iso_8601_with_a_zone(text: str) -> None:
    query = EventQuery.model_validate({"from": text})
    assert query.start == datetime(2026, 3, 8, 12, tzinfo=UTC)


def test_a_plus_that_became_a_space_is_explained() -> None:
    with pytest.raises(ValidationError, match="%2B"):
        EventQuery.model_validate({"from": "2026-03-08T13:00:00 01:00"})


def test_every_quality_may_be_asked_for() -> None:
    for quality in Quality:
        assert HistoryQuery.model_validate({"quality": quality.label}).quality == quality.label


def test_a_box_across_the_antimeridian_is_a_box() -> None:
    assert parse_bbox("179,-18,-179,-16") == Bbox(179, -18, -179, -16)
    assert parse_bbox(None) is None


@pytest.mark.parametrize(
    "values",
    [[0, 0, math.nan, 1], [0, math.inf, 0, 1], [181, 0, 0, 1], [0, -91, 0, 1], [0, 1, 0, 0]],
)
def test_an_impossible_box_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"reach from|above"):
        checked_bbox(values)


def test_an_empty_range_is_a_range() -> None:
    noon = datetime(2026, 3, 8, 12, tzinfo=UTC)
    check_range(noon, noon)
    check_range(noon, None)
    with pytest.raises(Problem):
        check_range(noon, datetime(2026, 3, 8, 11, tzinfo=UTC))
