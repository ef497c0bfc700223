"""Data faults: what comes out of a device whose clock, receiver or radio misbehaves.

Pure, and independent of every delivery fault: a clean and a faulty run distort alike.
"""

from math import cos, pi, radians, sin
from typing import Any

from firmware_sim.fleet import Observed
from firmware_sim.noise import Noise, Window, Windows
from firmware_sim.options import Options
from firmware_sim.readings import Reading, encode

_M_PER_DEG = 111_195.0
_DAY_MS = 86_400_000
# Fixes per block in which at most one run of jumps lies; a run is 3 to 8 fixes long.
_RUN_BLOCK = 16
_RUN_MEAN = 5.5

# The contract gives a tag read no `seq`; the manifest still counts them.
_CHANNELS_WITH_SEQ = frozenset({"pos", "sensor"})


class Distortion:
    """Turns what one device observed into what it says; counts `seq` on its one channel."""

    def __init__(self, device: str, channel: str, options: Options) -> None:
        self._device = device
        self._channel = channel
        self._options = options
        faults = options.faults
        self._jitter = Noise(options.seed, device, "jitter")
        self._jump = Noise(options.seed, device, "jump")
        self._run = Noise(options.seed, device, "run")
        self._loss = Noise(options.seed, device, "loss")
        self._tunnels = tunnels_of(device, channel, options)
        clock = Noise(options.seed, device, "clock")
        self._skew_ms = round(clock.gauss_pair(0)[0] * faults.clock_skew_s * 1000)
        self._clock = clock
        self._clock_jumps = Windows(
            Noise(options.seed, device, "clock jump"), faults.clock_jumps, faults.clock_jump_s
        )
        self._seq = 0
        self._distorts_place = channel == "pos" and (
            faults.jitter_m > 0 or faults.jumps > 0 or faults.jump_runs > 0
        )

    def say(self, observed: Observed) -> Reading | None:
        """The reading made of *observed*; None inside a tunnel. A lost one carries fault `loss`."""
        tunnel = self._tunnels.at(observed.at_ms)
        if tunnel and not self._options.faults.tunnel_buffered:
            return None
        seq, self._seq = self._seq, self._seq + 1
        faults = ["tunnel"] if tunnel else []
        body = observed.body
        if self._distorts_place:
            body = self._misplace(body, seq, faults)
        t_ms = self._stamp(observed.at_ms, faults)
        if self._options.faults.loss and self._loss.unit(seq) < self._options.faults.loss:
            faults.append("loss")
        payload = encode(
            body,
            t_ms,
            seq if self._channel in _CHANNELS_WITH_SEQ else None,
            self._options.time_format,
        )
        return Reading(
            self._device, self._channel, seq, t_ms, observed.at_ms, body, payload, tuple(faults)
        )

    def _misplace(self, body: dict[str, Any], seq: int, faults: list[str]) -> dict[str, Any]:
        east_m, north_m = self._jitter.gauss_pair(seq)
        sigma_m = self._options.faults.jitter_m
        east_m, north_m = east_m * sigma_m, north_m * sigma_m
        accuracy_m = max(body["accuracy_m"], round(sigma_m * 1.5, 1))
        if jump := self._jump_at(seq):
            faults.append("jump")
            east_m, north_m = east_m + jump[0], north_m + jump[1]
            # Half of the receivers know that they are lost.
            if jump[2]:
                accuracy_m = 900.0
        lat = body["lat"]
        lon = body["lon"] + east_m / (_M_PER_DEG * cos(radians(lat)))
        return {
            **body,
            "lon": round((lon + 180.0) % 360.0 - 180.0, 7),
            "lat": round(lat + north_m / _M_PER_DEG, 7),
            "accuracy_m": accuracy_m,
        }

    def _jump_at(self, seq: int) -> tuple[float, float, bool] | None:
        """Metres east and north, and whether the device admits it; None for no jump."""
        faults = self._options.faults
        if faults.jumps and self._jump.unit(4 * seq) < faults.jumps:
            return _throw(self._jump, 4 * seq + 1)
        if faults.jump_runs:
            block, place = divmod(seq, _RUN_BLOCK)
            if self._run.unit(8 * block) < faults.jump_runs * _RUN_BLOCK / _RUN_MEAN:
                first = int(self._run.between(8 * block + 1, 0, _RUN_BLOCK - 8))
                length = 3 + int(self._run.between(8 * block + 2, 0, 6))
                if first <= place < first + length:
                    return _throw(self._run, 8 * block + 3)
        return None

    def _stamp(self, at_ms: int, faults: list[str]) -> int:
        """What the device's clock says `at_ms` after the start."""
        if jump := self._clock_jumps.at(at_ms):
            return self._wrong_time(at_ms, jump, faults)
        if self._skew_ms:
            faults.append("clock_skew")
        return self._options.start_ms + at_ms + self._skew_ms

    def _wrong_time(self, at_ms: int, jump: Window, faults: list[str]) -> int:
        if self._clock.bits(2 * jump.number + 3) & 1:
            faults.append("clock_1970")
            # A clock that lost its battery counts from the epoch; from the start of the run, so
            # that two such windows never give two readings one time.
            return at_ms
        faults.append("clock_future")
        days = 1 + int(self._clock.unit(2 * jump.number + 2) * 30)
        return self._options.start_ms + at_ms + days * _DAY_MS


def tunnels_of(device: str, channel: str, options: Options) -> Windows:
    """When *device* is in a tunnel; only what moves can be."""
    share = options.faults.tunnels if channel == "pos" else 0.0
    return Windows(Noise(options.seed, device, "tunnel"), share, options.faults.tunnel_s)


def _throw(noise: Noise, n: int) -> tuple[float, float, bool]:
    distance_m = 400.0 * 20.0 ** noise.unit(n)  # 400 m to 8 km
    angle = 2 * pi * noise.unit(n + 1)
    return distance_m * sin(angle), distance_m * cos(angle), noise.bits(n + 2) & 1 == 1
