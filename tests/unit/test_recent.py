"""What was used last is kept."""

from tracking.recent import Recent


def test_what_was_used_longest_ago_goes_first() -> None:
    kept: Recent[str, int] = Recent(2)
    kept.put("a", 1)
    kept.put("b", 2)
    assert kept.get("a") == 1
    kept.put("c", 3)
    assert [name for name in "abc" if name in kept] == ["a", "c"]


def test_weights_count_and_the_last_one_stays_however_heavy() -> None:
    kept: Recent[str, int] = Recent(10)
    kept.put("a", 1, 6)
    kept.put("a", 2, 4)
    kept.put("b", 3, 6)
    assert (kept.get("a"), kept.get("b")) == (2, 3)
    kept.put("c", 4, 99)
    assert [name for name in "abc" if name in kept] == ["c"]
    kept.drop("c")
    kept.put("d", 5, 10)
    kept.drop("nobody")
    assert kept.get("c") is None
    assert kept.get("d") == 5
