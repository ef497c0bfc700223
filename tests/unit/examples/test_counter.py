"""The pickup service's counter: each webhook once, and what is still to be done."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from examples.pickup.counter import Counter, Errand
from waymark.client import Event, Pickup

NOON = datetime(2026, 3, 8, 12, tzinfo=UTC)
FAILED = Event(
    id="e1", source="", type="pickup.attempted", subject="pickup/p1", time=NOON, tenant="default",
    recorded_at=NOON, late=False, cursor=5, revision=1, status="active",
    data={"pickup": "p1", "shipment": "p1", "planned_from": None, "reason": "closed"},
)  # fmt: skip


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    with Counter(str(tmp_path / "pickup.db")) as counter:
        counter.ask("p1", {"place": {"lon": 5, "lat": 52}})
        counter.made("p1")
        yield counter


def test_the_same_wish_twice_is_one(counter: Counter) -> None:
    counter.ask("p2", {"fence": "yard"})
    counter.ask("p2", {"fence": "dock"})
    assert counter.asked() == [("p2", {"fence": "yard", "id": "p2"})]
    counter.made("p2", "there is no fence")
    assert counter.asked() == []


def test_a_failed_attempt_is_planned_anew_once_however_often_it_is_told(counter: Counter) -> None:
    for revision in (1, 1, 2):
        counter.hear(msgspec.structs.replace(FAILED, revision=revision))
    [errand] = counter.due()
    assert errand == Errand(
        "e1", "p1", "2026-03-09T12:00:00.000000+00:00", "2026-03-09T14:00:00.000000+00:00"
    )
    counter.ran(errand)
    counter.hear(FAILED)
    assert counter.due() == []


def test_an_attempt_that_has_a_new_window_needs_none(counter: Counter) -> None:
    planned = {**FAILED.data, "planned_from": "2026-03-09T08:00:00Z"}
    counter.hear(msgspec.structs.replace(FAILED, data=planned))
    assert counter.due() == []


def test_a_hint_that_comes_while_it_is_read_has_it_read_again(counter: Counter) -> None:
    [(id_, hint)] = counter.unread()
    moved = msgspec.structs.replace(FAILED, id="e2", type="stop.arrived", data={"shipment": "p1"})
    counter.hear(moved)
    told = msgspec.convert(
        {
            "id": id_, "kind": "on_demand", "express": False, "status": "scheduled", "name": "Yard",
            "created_at": NOON,
        },
        Pickup,
    )  # fmt: skip
    counter.read(told, hint)
    assert [one for one, _ in counter.unread()] == ["p1"]
    counter.read(told, counter.unread()[0][1])
    assert counter.unread() == []
