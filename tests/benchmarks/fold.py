"""CPU per message between decoding and the database, and of announcing, on one core."""

import json
from dataclasses import dataclass

import numpy as np

from ingest.announce import announcements
from ingest.decode import Decoder
from ingest.outcome import Committed
from ingest.plan import make_plan
from ingest.readings import Positions
from ingest.sift import Limits, Sifted, sift
from tests.benchmarks.result import Result, Row
from tests.benchmarks.samples import batches, cpu_us, stream
from tracking.fold import Rules, fold_one
from tracking.fold.columnar import Devices, FixColumns, fold_batch
from tracking.fold.state import StateArray, initial_states, pack_state, unpack_state
from tracking.store.readings import PositionRows

_BATCH = 5_000
_LIMITS = Limits(max_future_us=300_000_000, max_accuracy_m=1_000)
_HORIZON_US = 72 * 3_600_000_000
_RULES = Rules()


@dataclass(slots=True)
class Folding:
    """A fleet's states, and the steps of the pipeline that need no database."""

    states: StateArray

    def vectorised(self, positions: Positions) -> None:
        """Sift, plan and fold a batch as the pipeline does."""
        fold_batch(Devices(self.states, [None] * len(self.states)), self.columns(positions), _RULES)

    def columns(self, positions: Positions) -> FixColumns:
        """Sift and plan; the fixes to be folded."""
        sifted = sift(positions, positions.key_id.astype(np.int64), _LIMITS)
        rows = make_plan(sifted, self.states, {}, _HORIZON_US).folded
        return _columns(positions, sifted, rows)

    def pure(self, columns: FixColumns) -> None:
        """Fold one by one: the definition."""
        for row, device in enumerate(columns.device.tolist()):
            state = unpack_state(self.states[device])
            for fix in columns.fixes(np.array([row])):
                fold_one(state, fix, _RULES)
            self.states[device] = pack_state(state)


def run(*, quick: bool) -> Result:
    """100 and 10,000 devices; the pure fold is the peer, json.dumps that of announcing."""
    result = Result("fold", "CPU of sift, plan and fold, and of announcing", {"batch": _BATCH})
    for devices in (100, 10_000):
        # Enough that every device has departed: a driving fleet is what is measured.
        warm = max(8 * devices // _BATCH, 1)
        count = warm + (5 if quick else 20)
        decoder = Decoder()
        pieces = [
            decoder.decode(piece).positions
            for piece in batches(stream(devices, count * _BATCH), _BATCH)
        ]
        folding = Folding(initial_states(devices))
        for piece in pieces[:warm]:
            folding.vectorised(piece)
        start = folding.states.copy()
        fast = cpu_us(folding.vectorised, pieces[warm:], _BATCH)
        columns = []
        folding.states = start.copy()
        for piece in pieces[warm : warm + 3]:
            columns.append(folding.columns(piece))
            fold_batch(Devices(folding.states, [None] * len(folding.states)), columns[-1], _RULES)
        folding.states = start
        slow = cpu_us(folding.pure, columns, _BATCH)
        case = f"{devices:,} devices"
        result.rows.append(Row(f"sift, plan, fold: {case}", "waymark", {"us": fast}))
        result.rows.append(Row(f"pure fold alone: {case}", "peer", {"us": slow}))
        result.ratios[f"vectorised over pure, {case}"] = fast / slow
    _announce(result)
    return result


def _columns(
    positions: Positions, sifted: Sifted, rows: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> FixColumns:
    source = sifted.row[rows]
    return FixColumns.of(
        device=sifted.slot[rows],
        time_us=sifted.time_us[rows],
        seq=sifted.seq[rows],
        quality=sifted.quality[rows],
        lon=positions.lon[source],
        lat=positions.lat[source],
        speed_mps=positions.speed_mps[source],
        accuracy_m=positions.accuracy_m[source],
    )


def _announce(result: Result) -> None:
    decoder = Decoder()
    [piece] = batches(stream(_BATCH, _BATCH), _BATCH)
    positions = decoder.decode(piece).positions
    latest = PositionRows(
        device_id=np.arange(_BATCH),
        tenant_id=np.ones(_BATCH, np.int64),
        quality=np.zeros(_BATCH, np.int64),
        content=np.zeros(_BATCH, np.int64),
        fix_time_us=positions.fix_time_us,
        seq=positions.seq,
        received_us=positions.received_us,
        lon=positions.lon,
        lat=positions.lat,
        alt_m=positions.alt_m,
        speed_mps=positions.speed_mps,
        course_deg=positions.course_deg,
        accuracy_m=positions.accuracy_m,
        battery=positions.battery,
        h3=np.full(_BATCH, 0x8A1F05803A77FFF),
        attrs=[None] * _BATCH,
    )
    committed = Committed(latest, decoder.devices, [], _BATCH, _BATCH, 0, 0, 0, [])
    ours = cpu_us(announcements, [committed] * 7, _BATCH)
    [(_, encoded)] = announcements(committed)
    updates = json.loads(encoded)
    least = cpu_us(json.dumps, [updates] * 7, _BATCH)
    result.rows.append(Row("announce, one tenant", "waymark", {"us": ours}))
    result.rows.append(Row("json.dumps of the same", "peer", {"us": least}))
    result.ratios["announce over json.dumps"] = ours / least
