"""Who wants what: by asking each, and by the index, which must agree."""

from collections import defaultdict
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.feed.audience import InterestIndex
from tests.unit.api.live import event, position
from tracking.feed import LiveEvent, LivePosition
from tracking.interest import Interest
from tracking.store.devices import Bbox


class TestInterest:
    @pytest.mark.parametrize(
        ("interest", "wanted"),
        [
            pytest.param(Interest(), True, id="everything"),
            pytest.param(Interest(devices=frozenset({"t1"})), True, id="its device"),
            pytest.param(Interest(devices=frozenset({"t2"})), False, id="another device"),
            pytest.param(Interest(devices=frozenset()), False, id="no device"),
            pytest.param(Interest(bbox=Bbox(4, 51, 6, 53)), True, id="around"),
            pytest.param(Interest(bbox=Bbox(5, 52, 6, 53)), True, id="on the corner"),
            pytest.param(Interest(bbox=Bbox(6, 51, 7, 53)), False, id="beside"),
            pytest.param(Interest(bbox=Bbox(170, 51, 6, 53)), True, id="across the antimeridian"),
            pytest.param(Interest(bbox=Bbox(170, 51, -170, 53)), False, id="on the far side"),
            pytest.param(Interest(types=frozenset({"x"})), True, id="types are about events"),
            pytest.param(Interest(fences=frozenset({"x"})), True, id="and so are fences"),
            pytest.param(Interest(positions=False), False, id="only events"),
        ],
    )
    def test_positions_are_chosen_by_device_and_place(
        self,
        interest: Interest,
        wanted: bool,  # noqa: FBT001 -- a table's column
    ) -> None:
        assert bool(interest.choose([position("t1")])) is wanted

    @pytest.mark.parametrize(
        ("interest", "wanted"),
        [
            pytest.param(Interest(), True, id="everything"),
            pytest.param(Interest(types=frozenset({"trip.started"})), True, id="its type"),
            pytest.param(Interest(types=frozenset({"trip.*"})), True, id="its family"),
            pytest.param(Interest(types=frozenset({"trip"})), False, id="half a type"),
            pytest.param(Interest(types=frozenset({"fence.*"})), False, id="another family"),
            pytest.param(Interest(types=frozenset()), False, id="no type"),
            pytest.param(Interest(devices=frozenset({"t2"})), False, id="another subject"),
            pytest.param(Interest(bbox=Bbox(4, 51, 6, 53)), True, id="around"),
            pytest.param(Interest(bbox=Bbox(6, 51, 7, 53)), False, id="elsewhere"),
            pytest.param(Interest(fences=frozenset({"depot"})), True, id="its fence"),
            pytest.param(Interest(fences=frozenset({"gate"})), False, id="another fence"),
            pytest.param(Interest(positions=False), True, id="no positions"),
        ],
    )
    def test_events_are_chosen_by_type_subject_and_place(
        self,
        interest: Interest,
        wanted: bool,  # noqa: FBT001 -- as above
    ) -> None:
        assert interest.wants_event(event(lon=5.0, fence="depot")) is wanted

    def test_an_event_without_a_place_is_wanted_anywhere(self) -> None:
        assert Interest(bbox=Bbox(6, 51, 7, 53)).wants_event(event())


# Degrees with a taste for where longitudes end, poles, and borders that others have too.
LON = st.one_of(
    st.floats(-180, 180), st.floats(179.9, 180), st.floats(-180, -179.9), st.integers(-180, 180)
).map(float)
LAT = st.one_of(
    st.floats(-90, 90), st.floats(89.9, 90), st.floats(-90, -89.9), st.integers(-90, 90)
).map(float)


@st.composite
def boxes(draw: st.DrawFn) -> Bbox:
    """Boxes of metres to the whole earth, also across the antimeridian."""
    west, south = draw(LON), draw(LAT)
    if draw(st.booleans()):
        south, north = sorted((south, draw(LAT)))
        return Bbox(west, south, draw(LON), north)
    wide, high = (10 ** draw(st.floats(-6, 1)) for _ in range(2))
    east = west + wide if west + wide <= 180 else west + wide - 360
    return Bbox(west, south, east, min(90.0, south + high))


@st.composite
def places(draw: st.DrawFn, around: list[Bbox]) -> tuple[float, float]:
    """Anywhere, but mostly in, on and close to the borders of boxes."""
    if not around or draw(st.integers(0, 3)) == 0:
        return draw(LON), draw(LAT)
    west, south, east, north = draw(st.sampled_from(around))
    shares = st.one_of(st.floats(-0.2, 1.2), st.sampled_from([0.0, 1.0, -1e-7, 1 + 1e-7]))
    span = east - west if west <= east else east - west + 360
    lon = west + draw(shares) * span
    lat = south + draw(shares) * (north - south)
    if not -180 <= lon <= 180:
        lon = (lon + 180) % 360 - 180
    return lon, max(-90.0, min(90.0, lat))


def names(*known: str) -> st.SearchStrategy[frozenset[str] | None]:
    return st.none() | st.frozensets(st.sampled_from(known), max_size=2)


@st.composite
def interests(draw: st.DrawFn) -> Interest:
    return Interest(
        devices=draw(names("a", "b", "c")),
        bbox=draw(st.none() | boxes()),
        types=draw(names("trip.started", "trip.*", "fence.entered")),
        fences=draw(names("depot", "gate")),
        positions=draw(st.booleans()),
        shipments=draw(names("s1", "s2")),
    )


CARRIERS = st.dictionaries(
    st.sampled_from(["s1", "s2"]), st.sampled_from(["a", "b", "c", None]), max_size=2
)


class TestTheIndexAndAskingEach:
    @settings(deadline=None, max_examples=150)
    @given(st.data())
    def test_they_find_the_same_whoever_came_and_went(self, data: st.DataObject) -> None:
        wanted = data.draw(st.lists(interests(), max_size=8))
        gone = data.draw(st.sets(st.integers(0, 7)))
        index, left = InterestIndex[int](), dict[int, Interest]()
        for member, interest in enumerate(wanted):
            if member == 3:
                index.carry(data.draw(CARRIERS))
            index.add(interest, member)
        carriers = data.draw(CARRIERS)
        index.carry(carriers)
        for member, interest in enumerate(wanted):
            if member in gone:
                index.discard(interest, member)
            else:
                left[member] = interest
        around = [interest.bbox for interest in wanted if interest.bbox is not None]
        ground = data.draw(st.lists(places(around), min_size=1, max_size=20))
        fixes = [position("abcd"[n % 4], n, *place) for n, place in enumerate(ground)]
        assert chosen(index, fixes) == {
            member: [p.raw for p in its]
            for member, interest in left.items()
            if (its := resolved(interest, carriers).choose(fixes))
        }
        for lon, lat in ground[:5]:
            found = data.draw(st.builds(happening, st.just(lon), st.just(lat), st.integers(0, 99)))
            assert audience(index, found) == {
                member for member, interest in left.items() if interest.wants_event(found)
            }

    def test_whoever_left_leaves_nothing_behind(self) -> None:
        index = InterestIndex[int]()
        before = {name: repr(vars_of(part)) for name, part in vars(index).items()}
        everything = Interest(
            frozenset({"a"}), Bbox(1, 2, 3, 4), frozenset({"t"}), frozenset({"f"}),
            shipments=frozenset({"s1"}),
        )  # fmt: skip
        kinds = [
            Interest(),
            everything,
            Interest(bbox=Bbox(170, -10, -170, 10)),
            *(Interest(**{name: getattr(everything, name)}) for name in Interest._fields),
        ]
        for interest in kinds:
            index.add(interest, 1)
            index.add(interest, 2)
        for interest in kinds:
            index.discard(interest, 1)
            index.discard(interest, 2)
            index.discard(interest, 2)
        assert {name: repr(vars_of(part)) for name, part in vars(index).items()} == before

    def test_the_whole_earth_has_no_border_and_holds_everything(self) -> None:
        index = InterestIndex[int]()
        index.add(Interest(bbox=Bbox(-180, -90, 180, 90)), 1)
        fixes = [
            position("a", n, lon, lat)
            for n, (lon, lat) in enumerate([(0, 0), (180, 90), (-180, -90), (180, 0), (12, -90)])
        ]
        assert chosen(index, fixes) == {1: [p.raw for p in fixes]}

    def test_one_interest_is_one_audience_however_many_have_it(self) -> None:
        index = InterestIndex[int]()
        for member in range(100):
            index.add(Interest(bbox=Bbox(4, 51, 6, 53)), member)
        found = index.choose([position("a")])
        assert len(found) == 1
        assert [list(a.members) for a in found] == [list(range(100))]


def happening(lon: float, lat: float, n: int) -> LiveEvent:
    """Some event there, or nowhere in particular."""
    subject, type_ = "abcd"[n % 4], ("trip.started", "fence.entered", "alert.raised")[n % 3]
    fence = (None, "depot", "gate", "dock")[n // 2 % 4]
    placed = n % 5 > 0
    return LiveEvent(
        n, type_, subject, lon if placed else None, lat if placed else None, fence,
        (None, "s1", "s2")[n // 7 % 3], b"{}",
    )  # fmt: skip


def resolved(interest: Interest, carriers: Mapping[str, str | None]) -> Interest:
    """With the devices that carry what it follows in place of shipments."""
    if interest.shipments is None:
        return interest
    carrying = frozenset(
        device for shipment, device in carriers.items() if device and shipment in interest.shipments
    )
    devices = carrying if interest.devices is None else carrying & interest.devices
    return interest._replace(devices=devices)


def chosen(index: InterestIndex[int], fixes: list[LivePosition]) -> dict[int, list[bytes]]:
    """Of each member, what it gets of these fixes, in their order."""
    found: dict[int, list[bytes]] = defaultdict(list)
    everybody = [(each, fixes) for each in index.whole]
    for group, its in [*everybody, *index.choose(fixes).items()]:
        for member in group.members:
            assert member not in found
            found[member] = [p.raw for p in sorted(its, key=lambda p: p.fix_time)]
    return found


def audience(index: InterestIndex[int], happened: LiveEvent) -> set[int]:
    """Who gets an event; nobody twice."""
    members = [member for group in index.audiences_of(happened) for member in group.members]
    assert len(members) == len(set(members))
    return set(members)


def vars_of(part: object) -> object:
    """What a part of an index holds."""
    return {n: vars_of(p) for n, p in vars(part).items()} if hasattr(part, "__dict__") else part
