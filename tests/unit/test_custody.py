"""Custody against brute force: at every moment, follow the claims by hand."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tracking.custody import FOR_EVER_US, Claim, Custody, Ref, Segment

HORIZON = 24


def device(name: str) -> Ref:
    return Ref("device", name)


def asset(name: str) -> Ref:
    return Ref("asset", name)


SHIPMENT = Ref("shipment", "s")
ASSETS = [asset(name) for name in "abcd"]
# A load is carried only by what stands behind it here, so that there is no circle.
RANKED = [SHIPMENT, *ASSETS]


@st.composite
def claims(draw: st.DrawFn) -> list[Claim]:
    found: list[Claim] = []
    for load in [*RANKED, device("x"), device("y")]:
        edges: list[int] = sorted(draw(st.sets(st.integers(0, HORIZON), max_size=6)))
        if load.kind == "device":
            carriers = ASSETS
        else:
            carriers = RANKED[RANKED.index(load) + 1 :]
            if load.kind == "shipment":
                carriers = [*carriers, device("x"), device("y")]
        if not carriers:
            continue
        for from_us, to_us in pairwise(edges):
            if draw(st.booleans()):
                found.append(Claim(load, draw(st.sampled_from(carriers)), from_us, to_us))
        if draw(st.booleans()) and edges:
            found.append(Claim(load, draw(st.sampled_from(carriers)), edges[-1]))
    return draw(st.permutations(found))


def device_at(thing: Ref, at: int, all_: list[Claim]) -> str | None:
    if thing.kind == "device":
        return thing.id
    holding = [c for c in all_ if c.from_us <= at < c.to_us]
    on = [c for c in holding if c.carrier == thing and c.load.kind == "device"]
    if on:
        return max(on, key=lambda c: (c.from_us, c.load.id)).load.id
    [*carried] = [c for c in holding if c.load == thing]
    return device_at(carried[0].carrier, at, all_) if carried else None


@settings(max_examples=300, deadline=None)
@given(claims(), st.sampled_from(RANKED), st.integers(0, HORIZON), st.integers(0, HORIZON))
def test_segments_tell_at_every_moment_what_following_the_claims_tells(
    all_: list[Claim], thing: Ref, one: int, other: int
) -> None:
    from_us, to_us = min(one, other), max(one, other)
    found = Custody(all_).segments(thing, from_us, to_us)
    told = {at: s.device for s in found for at in range(s.from_us, s.to_us)}
    assert told == {at: device_at(thing, at, all_) for at in range(from_us, to_us)}
    assert all(a.to_us == b.from_us and a[2:] != b[2:] for a, b in pairwise(found))


@settings(max_examples=300, deadline=None)
@given(claims(), st.data())
def test_a_loop_is_found_at_the_first_moment_at_which_there_is_one(
    all_: list[Claim], data: st.DataObject
) -> None:
    load = data.draw(st.sampled_from(ASSETS))
    carrier = data.draw(st.sampled_from(ASSETS))
    from_us = data.draw(st.integers(0, HORIZON))
    claim = Claim(load, carrier, from_us, from_us + data.draw(st.integers(1, HORIZON)))

    def inside(thing: Ref, at: int) -> bool:
        if thing == load:
            return True
        up = [c.carrier for c in all_ if c.load == thing and c.from_us <= at < c.to_us]
        return any(inside(one, at) for one in up)

    looping = [at for at in range(claim.from_us, claim.to_us) if inside(carrier, at)]
    assert Custody(all_).loop(claim) == min(looping, default=None)


def test_a_parcel_in_a_pallet_in_a_truck_is_where_the_truck_is() -> None:
    parcel, pallet, truck = asset("parcel"), asset("pallet"), asset("truck")
    custody = Custody([
        Claim(parcel, pallet, 10),
        Claim(pallet, truck, 20, 60),
        Claim(device("gps-1"), truck, 0, 40),
        Claim(device("gps-2"), truck, 45),
    ])  # fmt: skip
    assert custody.segments(parcel, 0) == [
        Segment(0, 20, None),
        Segment(20, 40, "gps-1", (pallet, truck)),
        Segment(40, 45, None),
        Segment(45, 60, "gps-2", (pallet, truck)),
        Segment(60, FOR_EVER_US, None),
    ]


def test_of_several_devices_the_one_attached_last_counts() -> None:
    truck = asset("truck")
    custody = Custody([
        Claim(device("old"), truck, 0),
        Claim(device("new"), truck, 10, 20),
    ])  # fmt: skip
    assert [s[:3] for s in custody.segments(truck, 0)] == [
        (0, 10, "old"), (10, 20, "new"), (20, FOR_EVER_US, "old"),
    ]  # fmt: skip


def test_claims_that_run_in_a_circle_end() -> None:
    a, b = asset("a"), asset("b")
    assert Custody([Claim(a, b, 0), Claim(b, a, 0)]).segments(a, 0, 10) == [Segment(0, 10, None)]
