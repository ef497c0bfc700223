"""When a device observes next. Pure."""


class Ticks:
    """Evenly spaced moments in ms since the start, the first after *phase_ms*."""

    def __init__(self, interval_s: float, phase_ms: float) -> None:
        self.interval_s = interval_s
        self._phase_ms = phase_ms
        self._count = 0

    @property
    def next_ms(self) -> int:
        """The next one."""
        return int(self._phase_ms + self._count * (self.interval_s * 1000))

    def advance(self) -> None:
        """The next one is over."""
        self._count += 1

    def change(self, interval_s: float, now_ms: float) -> None:
        """*interval_s* apart from the last one on, the next not before *now_ms*."""
        last_ms = self._phase_ms + (self._count - 1) * self.interval_s * 1000
        self._phase_ms = max(now_ms, last_ms + interval_s * 1000)
        self._count = 0
        self.interval_s = interval_s
