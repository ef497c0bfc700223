"""The order service's book: facts by revision, and what customers are told of them."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from examples.orders.book import Book
from waymark.client import Event

NOON = datetime(2026, 3, 8, 12, tzinfo=UTC)
Tell = Callable[..., None]


def event(cursor: int, type_: str, *, id_: str = "", minute: int = 0, **more: Any) -> Event:  # noqa: ANN401 -- data
    members = {name: more.pop(name) for name in ("revision", "status") if name in more}
    return Event(
        id=id_ or f"e{cursor}", source="", type=type_, subject="shipment/s1",
        time=NOON + timedelta(minutes=minute), tenant="default", recorded_at=NOON, late=False,
        cursor=cursor, data={"shipment": "s1", "order_ref": "o1", **more},
        **{"revision": 1, "status": "active", **members},
    )  # fmt: skip


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    with Book(str(tmp_path / "orders.db")) as book:
        yield book


@pytest.fixture
def tell(book: Book) -> Tell:
    def status(cursor: int, was: str | None, became: str, **more: Any) -> None:  # noqa: ANN401 -- as above
        data: dict[str, Any] = {**more, "from": was, "to": became}
        book.take(event(cursor, "shipment.status_changed", **data))

    return status


def shipment(book: Book) -> Any:  # noqa: ANN401 -- JSON
    return book.truth()["orders"]["o1"]["shipments"]["s1"]


def said(book: Book) -> list[tuple[str, str]]:
    return [(line["act"], line["what"]) for line in book.truth()["journal"]]


def test_it_goes_on_behind_the_last_event_it_worked_in(tmp_path: Path) -> None:
    path = str(tmp_path / "orders.db")
    with Book(path) as book:
        assert book.cursor is None
        book.begin([], 7)
    with Book(path) as book:
        assert book.cursor == 7
        book.take(event(9, "shipment.delayed", stop=1))
        assert book.cursor == 9


def test_a_status_is_the_last_in_time_whatever_came_first(book: Book, tell: Tell) -> None:
    tell(3, "in_transit", "delivered", minute=9)
    tell(4, "planned", "in_transit", minute=5)
    # Planned after it was driven.
    tell(5, None, "planned", minute=60)
    assert (shipment(book)["status"], shipment(book)["since"][11:16]) == ("delivered", "12:09")


def test_of_statuses_of_one_moment_the_last_is_where_none_goes_on(book: Book, tell: Tell) -> None:
    tell(1, "at_stop", "delivered", minute=3)
    tell(2, "in_transit", "at_stop", minute=3)
    assert shipment(book)["status"] == "delivered"


def test_an_older_revision_changes_nothing(book: Book, tell: Tell) -> None:
    tell(5, "in_transit", "delivered", id_="x", revision=2, status="retracted")
    tell(6, "in_transit", "delivered", id_="x", revision=1)
    assert book.truth()["orders"] == {}
    assert said(book) == []


def test_a_time_put_right_is_told_nobody_and_what_never_was_is_withdrawn_once(
    book: Book, tell: Tell
) -> None:
    tell(1, None, "planned")
    tell(2, "in_transit", "delivered", id_="x", minute=5)
    tell(3, "in_transit", "delivered", id_="y", minute=4)
    tell(4, "in_transit", "delivered", id_="x", minute=5, revision=2, status="retracted")
    assert said(book) == [("told", "delivered")]
    tell(5, "in_transit", "delivered", id_="y", minute=4, revision=2, status="retracted")
    assert said(book) == [("told", "delivered"), ("withdrawn", "delivered")]
    assert shipment(book)["status"] == "planned"


def test_what_was_so_before_it_began_is_told_nobody(book: Book, tell: Tell) -> None:
    late, meanwhile = event(1, "shipment.delayed", stop=1), event(3, "shipment.delayed", stop=2)
    book.begin([late, meanwhile], 2)
    book.take(meanwhile)
    book.take(event(4, "shipment.delayed", stop=1, minute=1))
    assert said(book) == [("known", "delayed at 1"), ("told", "delayed at 2")]
    tell(5, None, "planned")
    assert book.truth()["orders"]["o1"]["delayed"] == 1


def test_an_eta_is_the_one_told_last_until_it_came_about(book: Book, tell: Tell) -> None:
    tell(1, None, "planned")
    for cursor, new in ((2, "2026-03-08T13:00:00Z"), (3, "2026-03-08T12:50:00Z")):
        # By the clock of another device, which is behind.
        book.take(event(cursor, "shipment.eta_changed", minute=-cursor, stop=1, new=new))
    assert shipment(book)["eta"] == "2026-03-08T12:50:00.000000+00:00"
    book.take(event(4, "stop.arrived", stop=1))
    assert shipment(book)["eta"] is None
