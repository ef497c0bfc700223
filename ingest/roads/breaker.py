"""When somebody who failed is asked again. Pure: time and chance come in as arguments."""

# One failure may be the question's; so many in a row are the provider's.
_IN_A_ROW = 3
_FIRST_S, _LONGEST_S = 5.0, 300.0


class Breaker:
    """Lets questions through until several in a row failed; then one after each pause.

    A pause is twice the one before, 5 s to 5 minutes, and varies by half with chance, so that many
    who lost the same provider do not come back at once.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._until_s = 0.0
        self._trying = False

    @property
    def open(self) -> bool:
        """Whether the provider counts as away."""
        return self._failures >= _IN_A_ROW

    def pause_s(self, now_s: float) -> float | None:
        """How long to wait before asking; 0: ask now; None: until the one on trial is answered."""
        if not self.open:
            return 0.0
        if self._trying:
            return None
        return max(self._until_s - now_s, 0.0)

    def asked(self) -> None:
        """A question goes out. `succeeded` or `failed` must follow, or `withdrawn`."""
        self._trying = self.open

    def succeeded(self) -> None:
        """It was answered."""
        self._failures, self._trying = 0, False

    def failed(self, now_s: float, chance: float) -> None:
        """It was not. `chance` is from 0 to 1."""
        self._failures += 1
        self._trying = False
        doubled_s = _FIRST_S * 2.0 ** min(max(self._failures - _IN_A_ROW, 0), 10)
        self._until_s = now_s + min(doubled_s, _LONGEST_S) * (0.5 + chance)

    def withdrawn(self) -> None:
        """It was not asked after all."""
        self._trying = False
