"""What is simulated: every option with its unit, range and default. Checked once, here."""

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, Self

Backlog = Literal["newest", "oldest"]
TimeFormat = Literal["ms", "iso"]
Preset = Literal["none", "mild", "harsh"]

NEW_YEAR_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z

_RATES = ("loss", "duplicates", "reorder", "jumps", "jump_runs", "malformed")
_SHARES = ("tunnels", "clock_jumps", "offline")


class OptionError(ValueError):
    """An option has a value that cannot be used; the message says which and what to give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How the devices and their network misbehave. All off by default, all composable.

    *Data faults* decide which readings exist and what they say; *delivery faults* only decide how
    the same readings arrive. `Options.clean` switches off the second kind and nothing else.
    Rates are per message, 0 to 1. Shares are of a device's time, 0 to 0.5.
    """

    # Data faults.
    loss: float = 0.0  # rate: made, counted in seq, never published
    jitter_m: float = 0.0  # sigma of the noise on each axis of each fix
    jumps: float = 0.0  # rate: a single fix some hundred metres to kilometres off
    jump_runs: float = 0.0  # rate: the same for several fixes in a row
    tunnels: float = 0.0  # share: no fix at all, unless `tunnel_buffered`
    tunnel_s: float = 30.0  # mean length
    clock_skew_s: float = 0.0  # sigma of a constant offset per device
    clock_jumps: float = 0.0  # share: the clock says some days ahead, or 1970
    clock_jump_s: float = 20.0  # mean length
    # Delivery faults.
    tunnel_buffered: bool = False  # fixes go on inside the tunnel and are sent at its end
    duplicates: float = 0.0  # rate: the same bytes again, soon or up to `duplicate_late_s` later
    duplicate_late_s: float = 300.0
    reorder: float = 0.0  # rate: held back behind what was made up to `reorder_window_s` later
    reorder_window_s: float = 10.0
    offline: float = 0.0  # share: no network; the device keeps its readings and sends them after
    offline_s: float = 60.0  # mean length
    backlog: Backlog = "newest"  # which end of the kept readings is sent first
    malformed: float = 0.0  # rate: an extra message that is not a reading

    def __post_init__(self) -> None:
        for name in _RATES:
            _check(name, getattr(self, name), 0, 1)
        for name in _SHARES:
            _check(name, getattr(self, name), 0, 0.5)
        for name in ("tunnel_s", "clock_jump_s", "offline_s"):
            _check(name, getattr(self, name), 0.1, 86_400)
        for name in ("jitter_m", "clock_skew_s", "duplicate_late_s", "reorder_window_s"):
            _check(name, getattr(self, name), 0, 86_400)
        _check_choice("backlog", self.backlog, ("newest", "oldest"))

    @classmethod
    def preset(cls, name: Preset) -> Self:
        """A ready mixture: `none`, `mild` (a decent fleet on a bad day) or `harsh` (everything)."""
        _check_choice("faults", name, tuple(_PRESETS))
        return cls(**_PRESETS[name])

    def without_delivery(self) -> Self:
        """These faults with only those left that change the readings themselves."""
        return replace(
            self, duplicates=0.0, reorder=0.0, offline=0.0, malformed=0.0, tunnel_buffered=False
        )


_PRESETS: dict[str, dict[str, Any]] = {
    "none": {},
    "mild": {
        "loss": 0.002,
        "jitter_m": 3.0,
        "jumps": 0.001,
        "tunnels": 0.02,
        "clock_skew_s": 1.0,
        "duplicates": 0.01,
        "reorder": 0.01,
        "offline": 0.03,
        "malformed": 0.001,
    },
    "harsh": {
        "loss": 0.02,
        "jitter_m": 8.0,
        "jumps": 0.01,
        "jump_runs": 0.01,
        "tunnels": 0.1,
        "clock_skew_s": 20.0,
        "clock_jumps": 0.03,
        "duplicates": 0.1,
        "reorder": 0.1,
        "offline": 0.2,
        "malformed": 0.02,
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One simulation. Equal options give, per device, the same bytes in the same order."""

    seed: int = 1
    tenant: str = "default"
    prefix: str = ""  # put before every device's name
    devices: int = 40  # vehicles, on channel `pos`
    readers: int = 4  # RFID readers at depot doors, on channel `tag`
    sensors: int = 6  # temperature and humidity, on channel `sensor`
    interval_s: float = 1.0  # between two fixes of a vehicle
    sensor_interval_s: float = 10.0
    duration_s: float = 60.0  # simulated; 0 goes on until stopped
    start_ms: int = NEW_YEAR_MS  # Unix epoch ms of the first instant
    center_lon: float = 13.3777
    center_lat: float = 52.5163
    time_format: TimeFormat = "ms"
    faults: Faults = field(default_factory=Faults)
    clean: bool = False  # the same readings, each delivered once and in order

    def __post_init__(self) -> None:
        for name, high in (("devices", 100_000), ("readers", 1_000), ("sensors", 100_000)):
            _check(name, getattr(self, name), 0, high)
        if not self.names_count:
            raise OptionError("nothing to simulate: give --devices, --readers or --sensors")
        _check("interval", self.interval_s, 0.01, 86_400)
        _check("sensor-interval", self.sensor_interval_s, 0.01, 86_400)
        _check("for", self.duration_s, 0, 366 * 86_400)
        _check("center longitude", self.center_lon, -180, 180)
        # Beyond this the flat map of a city bends too much.
        _check("center latitude", self.center_lat, -80, 80)
        _check("start", self.start_ms, 0, 253_402_300_799_000)
        for name, value in (("tenant", self.tenant or "/"), ("prefix", self.prefix)):
            if any(c in value for c in "/+#\0"):
                raise OptionError(f"{name}: give a name without '/', '+' and '#'")
        _check_choice("time", self.time_format, ("ms", "iso"))

    @property
    def names_count(self) -> int:
        """How many devices of all kinds there are."""
        return self.devices + self.readers + self.sensors

    @property
    def delivery_faults(self) -> Faults:
        """The faults that act on delivery; none of them when `clean`."""
        return self.faults.without_delivery() if self.clean else self.faults

    def describe(self) -> dict[str, Any]:
        """The options as JSON, faults that are off left out."""
        described = asdict(self)
        defaults = {f.name: f.default for f in fields(Faults)}
        described["faults"] = {
            name: value for name, value in described["faults"].items() if value != defaults[name]
        }
        return described


def _check(name: str, value: float, low: float, high: float) -> None:
    # Written so that NaN fails too.
    if not low <= value <= high:
        raise OptionError(f"{name.replace('_', '-')}: {value} is not within {low} to {high}")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise OptionError(f"{name}: {value!r} is none of {', '.join(choices)}")
