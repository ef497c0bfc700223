"""What the forecasters are made of, against brute force and by their promises."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.eta.band import Band
from tracking.eta.hops import Hops
from tracking.eta.nearby import Nearby, Start
from tracking.eta.pace import PaceProfile, Path, headings_of
from tracking.eta.passages import Passages
from tracking.eta.robust import least_absolute
from tracking.eta.trust import Merits, Trust

trips = st.lists(
    st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=12), max_size=12
)


class TestPassages:
    @given(trips, st.integers(0, 6), st.integers(0, 6))
    def test_between_two_places_finds_what_looking_at_every_trip_finds(
        self, trips: list[list[tuple[int, bool]]], here: int, there: int
    ) -> None:
        book: Passages[int] = Passages()
        wanted = []
        for number, trip in enumerate(trips):
            places = [place for place, _ in trip]
            at = np.arange(float(len(trip))) * 60.0 + number
            passed = np.where([seen for _, seen in trip], at, np.nan)
            book.add(places, passed, at * 2.0, at + 1.0, at + 2.0)
            seen = [(place, t) for place, t in zip(places, passed, strict=True) if t == t]  # noqa: PLR0124 -- NaN
            for i, (place, t) in enumerate(seen):
                later = [u for other, u in seen[i + (here == there) :] if other == there and u > t]
                if place == here and later:
                    wanted.append((t, later[0] - t))
        found = book.between(here, there)
        # A loop passes a place twice: the passage that follows next counts.
        if here == there:
            return
        told = [] if found is None else zip(found.lead - 1.0, found.took_s, strict=True)
        assert [(float(a), float(b)) for a, b in told] == wanted

    def test_nobody_passed_an_unknown_place(self) -> None:
        book: Passages[str] = Passages()
        book.add(["a"], np.zeros(1), np.zeros(1), np.zeros(1), np.zeros(1))
        assert book.between("a", "b") is None
        assert book.between("b", "a") is None


class TestBand:
    @pytest.mark.parametrize("relative", [True, False])
    def test_what_it_was_fitted_to_it_covers_by_four_of_five(self, *, relative: bool) -> None:
        rng = np.random.default_rng(7)
        forecast = rng.uniform(60, 6_000, 20_000)
        actual = forecast * rng.lognormal(0, 0.2, len(forecast))
        band = Band(relative=relative)
        band.fit(forecast, actual)
        around = np.array([band.around(f) for f in forecast.tolist()])
        covered = (around[:, 0] <= actual) & (actual <= around[:, 1])
        assert 0.78 <= covered.mean() <= 0.82

    def test_it_follows_when_errors_grow(self) -> None:
        rng = np.random.default_rng(7)
        forecast = np.full(5_000, 1_000.0)
        band = Band(relative=True)
        band.fit(forecast, forecast * rng.normal(1, 0.05, 5_000))
        for _ in range(400):
            band.learn(forecast[:50], forecast[:50] * rng.normal(1, 0.2, 50))
        low, high = band.around(1_000.0)
        later = 1_000.0 * rng.normal(1, 0.2, 5_000)
        assert 0.7 <= ((low <= later) & (later <= high)).mean() <= 0.88

    @given(forecast_s=st.floats(0, 1e6), relative=st.booleans())
    def test_the_median_lies_within_and_nothing_arrives_in_the_past(
        self, forecast_s: float, *, relative: bool
    ) -> None:
        low, high = Band(relative=relative).around(forecast_s)
        assert 0 <= low <= forecast_s <= high


class TestTrust:
    def test_who_errs_less_weighs_more_and_the_weights_add_up(self) -> None:
        trust = Trust(2)
        assert trust.weights(0.0).tolist() == [0.5, 0.5]
        actual = np.full(100, 600.0)
        trust.learn(100.0, np.stack([actual * 1.3, actual * 1.1], axis=1), actual)
        one, other = trust.weights(200.0)
        assert other > 0.8
        assert one + other == pytest.approx(1.0)

    def test_yesterdays_errors_are_forgotten(self) -> None:
        trust = Trust(2)
        actual = np.full(100, 600.0)
        trust.learn(100.0, np.stack([actual * 1.3, actual * 1.1], axis=1), actual)
        assert trust.weights(100.0 + 86_400.0) == pytest.approx([0.5, 0.5])


class TestMerits:
    def test_until_they_show_it_experts_are_thought_to_err_as_expected(self) -> None:
        merits = Merits((0.1, 0.1, 0.2))
        one, other, worse = merits.weights(np.array([True, True, True]))
        assert one == other
        assert one == pytest.approx(64 * worse)

    def test_who_says_nothing_has_no_weight_and_is_not_judged(self) -> None:
        merits = Merits((0.15, 0.15))
        for _ in range(50):
            merits.learn(np.array([700.0, np.nan]), 600.0)
        assert merits.weights(np.array([True, False])).tolist() == [1.0, 0.0]
        one, other = merits.weights(np.array([True, True]))
        assert one < other

    def test_what_an_expert_said_before_it_had_learned_fades(self) -> None:
        merits = Merits((0.15, 0.15))
        for _ in range(300):
            merits.learn(np.array([1_200.0, 700.0]), 600.0)
        assert merits.weights(np.array([True, True]))[0] < 0.01
        for _ in range(300):
            merits.learn(np.array([610.0, 700.0]), 600.0)
        assert merits.weights(np.array([True, True]))[0] > 0.9


def test_least_absolute_is_not_moved_by_a_few_that_waited_an_hour() -> None:
    rng = np.random.default_rng(3)
    x = rng.uniform(0, 100, 500)
    y = 3 * x + rng.normal(0, 5, 500)
    y[:25] += 3_600
    slope, fixed = least_absolute(np.stack([x, np.ones(500)], axis=1), y, ridge=1e-9)
    assert slope == pytest.approx(3, abs=0.1)
    assert abs(fixed) < 5


CELL = 0x8A1969C9949FFFF


class TestPace:
    def path(self, heading: int = 0, n: int = 10) -> Path:
        return Path(np.full(n, CELL), np.full(n, heading), np.full(n, 100.0))

    def test_what_was_driven_often_is_forecast_as_it_was(self) -> None:
        profile = PaceProfile(usual_mps=10.0)
        for trip in range(50):
            profile.learn(self.path(), np.full(10, 20.0), 1_000.0 * trip, 8 * 3_600.0)
        told = profile.seconds(self.path(), 1e6, 8 * 3_600.0)
        assert told.sum() == pytest.approx(200.0, rel=0.03)

    def test_the_other_heading_of_a_cell_is_another_pace(self) -> None:
        profile = PaceProfile()
        for trip in range(50):
            profile.learn(self.path(0), np.full(10, 20.0), 1_000.0 * trip, 8 * 3_600.0)
            profile.learn(self.path(4), np.full(10, 5.0), 1_000.0 * trip, 8 * 3_600.0)
        north = profile.seconds(self.path(0), 1e6, 8 * 3_600.0).sum()
        south = profile.seconds(self.path(4), 1e6, 8 * 3_600.0).sum()
        assert north > 3 * south

    def test_a_jam_now_slows_forecasts_of_now_and_fades(self) -> None:
        profile = PaceProfile()
        for trip in range(50):
            profile.learn(self.path(), np.full(10, 10.0), 10_000.0 * trip, 8 * 3_600.0)
        usual = profile.seconds(self.path(), 600_000.0, 8 * 3_600.0).sum()
        for trip in range(3):
            profile.learn(self.path(), np.full(10, 40.0), 600_000.0 + trip, 8 * 3_600.0)
        jammed = profile.seconds(self.path(), 600_060.0, 8 * 3_600.0).sum()
        later = profile.seconds(self.path(), 600_000.0 + 6 * 3_600.0, 8 * 3_600.0).sum()
        assert jammed > 2 * usual
        assert later < 1.5 * usual

    def test_headings_turn_clockwise_from_north(self) -> None:
        east = np.array([0.0, 1.0, 1.0, 0.0, -1.0])
        north = np.array([1.0, 1.0, 0.0, -1.0, 0.0])
        assert headings_of(east, north).tolist() == [0, 1, 2, 4, 6]


class TestHops:
    ALONG_M = np.arange(5.0) * 1_000.0

    def driven(self, hops: Hops, places: str, pace: float, *, at_s: float, today: bool) -> None:
        passed_s = at_s + self.ALONG_M[: len(places)] * pace
        hops.learn(places, passed_s, self.ALONG_M[: len(places)], passed_s % 86_400, today=today)

    def test_lanes_that_share_hops_know_of_each_other(self) -> None:
        hops = Hops(usual_mps=10.0)
        for day in range(1, 60):
            self.driven(hops, "abc", 0.3, at_s=day * 86_400.0, today=False)
        way_s = hops.seconds("xbcy", np.full(3, 1_000.0), 60 * 86_400.0, 0.0)
        assert way_s == pytest.approx(3 * 300.0, rel=0.1)

    def test_a_hop_nobody_was_seen_at_both_ends_of_is_as_any_other(self) -> None:
        hops = Hops(usual_mps=10.0)
        hops.learn("ab", np.array([0.0, np.nan]), self.ALONG_M[:2], np.zeros(2), today=True)
        assert hops.seconds("ab", np.array([1_000.0]), 0.0, 0.0) == pytest.approx(100.0)

    def test_todays_jam_slows_its_own_hop_and_fades(self) -> None:
        hops = Hops(usual_mps=10.0)
        for day in range(1, 60):
            self.driven(hops, "abcde", 0.1, at_s=day * 86_400.0, today=False)
        now_s = 60 * 86_400.0
        for trip in range(5):
            self.driven(hops, "ab", 0.5, at_s=now_s + trip, today=True)
        jam_s = hops.seconds("ab", np.array([1_000.0]), now_s + 500.0, 0.0)
        assert jam_s > 300.0
        assert hops.seconds("de", np.array([1_000.0]), now_s + 500.0, 0.0) < 150.0
        later_s = hops.seconds("ab", np.array([1_000.0]), now_s + 6 * 3_600.0, 0.0)
        assert later_s < 0.5 * jam_s

    def test_no_hop_takes_no_time(self) -> None:
        assert Hops(usual_mps=10.0).seconds("a", np.empty(0), 0.0, 0.0) == 0.0


class TestNearby:
    def start(self, lon: float = 5.0, left_m: float = 5_000.0) -> Start:
        return Start((lon, 52.0), (5.07, 52.0), left_m, 8 * 3_600.0)

    def test_without_past_trips_the_prior_stands(self) -> None:
        evidence = Nearby().evidence(self.start(), 0.0)
        assert (evidence.ratio, evidence.trips) == (1.0, 0.0)

    def test_trips_like_this_one_move_the_prior_and_one_that_waited_does_not_rule(self) -> None:
        nearby = Nearby()
        for trip in range(30):
            nearby.learn([self.start()], np.array([120.0]), np.array([100.0]), 1_000.0 * trip)
        nearby.learn([self.start()], np.array([4_000.0]), np.array([100.0]), 30_000.0)
        assert nearby.evidence(self.start(), 1e6).ratio == pytest.approx(1.2, abs=0.05)

    def test_what_began_far_away_is_no_evidence(self) -> None:
        nearby = Nearby()
        for trip in range(30):
            nearby.learn(
                [self.start(lon=6.0)], np.array([200.0]), np.array([100.0]), 1_000.0 * trip
            )
        assert nearby.evidence(self.start(), 1e6).ratio == 1.0

    def test_a_trip_votes_once_however_many_samples_it_left(self) -> None:
        nearby = Nearby()
        nearby.learn([self.start()] * 50, np.full(50, 200.0), np.full(50, 100.0), 0.0)
        nearby.learn([self.start()], np.array([50.0]), np.array([100.0]), 0.0)
        assert nearby.evidence(self.start(), 1e6).ratio == pytest.approx(1.0, abs=0.01)
