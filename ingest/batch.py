"""One batch of decoded messages, sorted by what becomes of them. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ingest.decode import Decoder
from ingest.fleet import REFUSALS, Fleet
from ingest.mqtt import Message
from ingest.readings import Ack, Measurements, Positions, Readings, Rejection, Status, TagReads
from ingest.sift import Limits, Sifted, sift
from tracking.quality import Reject
from tracking.store.rejects import DeadLetter

Ints = NDArray[np.int64]


@dataclass(slots=True)
class Batch:
    """Readings of known devices, and dead letters for the rest.

    `slots` are the devices touched, each once; `sifted.slot` and every `*_local` column index into
    it, and `received` and `heard_us` have one element per device.
    """

    slots: Ints
    received: Ints
    heard_us: Ints
    positions: Positions
    sifted: Sifted
    measurements: Measurements
    measurements_local: Ints
    tags: TagReads
    tags_local: Ints
    statuses: list[tuple[int, Status]]  # (local, status)
    acks: list[tuple[int, Ack]]  # (local, ack)
    letters: list[DeadLetter]
    refusals: list[Rejection] = field(default_factory=list)  # what the letters are made of
    reasons: Counter[tuple[int, str, str]] = field(default_factory=Counter)

    @classmethod
    def of(
        cls,
        messages: Sequence[Message],
        readings: Readings,
        decoder: Decoder,
        fleet: Fleet,
        limits: Limits,
    ) -> "Batch":
        """Sort `readings` of `messages`, whose devices `fleet` has resolved."""
        refused = _refuse(messages, readings, decoder, fleet)
        positions, measurements, tags = readings.positions, readings.measurements, readings.tags
        if refused:
            positions = _keep(positions, fleet.slots(positions.key_id) >= 0)
            measurements = _keep(measurements, fleet.slots(measurements.key_id) >= 0)
            tags = _keep(tags, fleet.slots(tags.key_id) >= 0)
        statuses, status_slots = _known(readings.statuses, fleet)
        acks, ack_slots = _known(readings.acks, fleet)
        parts: list[Positions | Measurements | TagReads] = [positions, measurements, tags]
        slot = np.concatenate(
            [*(fleet.slots(part.key_id) for part in parts), status_slots, ack_slots]
        )
        said = [*(s.received_us for s in statuses), *(ack.received_us for ack in acks)]
        heard = np.concatenate([*(part.received_us for part in parts), said]).astype(np.int64)
        slots, local = np.unique(slot, return_inverse=True)
        ends = np.cumsum([*(len(part) for part in parts), len(statuses)])
        heard_us = np.zeros(len(slots), np.int64)
        np.maximum.at(heard_us, local, heard)
        sifted = sift(positions, local[: ends[0]], limits)
        batch = cls(
            slots=slots,
            received=np.bincount(local[: ends[2]], minlength=len(slots)),
            heard_us=heard_us,
            positions=positions,
            sifted=sifted,
            measurements=measurements,
            measurements_local=local[ends[0] : ends[1]],
            tags=tags,
            tags_local=local[ends[1] : ends[2]],
            statuses=list(zip(local[ends[2] : ends[3]].tolist(), statuses, strict=True)),
            acks=list(zip(local[ends[3] :].tolist(), acks, strict=True)),
            letters=[],
        )
        batch._add_letters(messages, readings, refused, fleet)
        return batch

    def _add_letters(
        self,
        messages: Sequence[Message],
        readings: Readings,
        refused: list[tuple[int, str, str, Reject]],
        fleet: Fleet,
    ) -> None:
        faults: dict[int, list[tuple[str | None, str | None, Reject, str]]] = {}
        for message, tenant, device, reason, detail in readings.rejects:
            faults.setdefault(message, []).append((tenant, device, reason, detail))
        for message, tenant, device, reason in refused:
            detail = f"{reason.value.replace('_', ' ')} {tenant}/{device}"
            faults.setdefault(message, []).append((tenant, device, reason, detail))
        for index, found in faults.items():
            self.refusals += [Rejection(index, *fault) for fault in found]
            tenant, device, reason, _ = found[0]
            tenant_id = fleet.tenants.get(tenant or "")
            self.letters.append(
                DeadLetter(
                    topic=messages[index].topic.decode("utf-8", "backslashreplace"),
                    payload=messages[index].payload,
                    reason=reason,
                    detail="; ".join(detail for *_, detail in found)[:1_000],
                    received_us=messages[index].received_us,
                    tenant_id=tenant_id,
                    device=device,
                )
            )
            if tenant_id is not None:
                for _, name, why, _ in found:
                    self.reasons[tenant_id, name or "", why.value] += 1


def _refuse(
    messages: Sequence[Message], readings: Readings, decoder: Decoder, fleet: Fleet
) -> list[tuple[int, str, str, Reject]]:
    """The messages of devices that may not publish: (index, tenant, device, reason)."""
    key_ids = np.concatenate(
        [
            readings.positions.key_id,
            readings.measurements.key_id,
            readings.tags.key_id,
            np.array([s.key_id for s in readings.statuses], np.int32),
            np.array([ack.key_id for ack in readings.acks], np.int32),
        ]
    )
    if not len(key_ids) or (fleet.slots(key_ids) >= 0).all():
        return []
    refused = []
    for index, message in enumerate(messages):
        key_id = decoder.key_id(message.topic)
        reason = REFUSALS.get(int(fleet.slots(np.array([key_id]))[0])) if key_id >= 0 else None
        if reason is not None:
            refused.append((index, *decoder.devices[key_id], reason))
    return refused


_Said = TypeVar("_Said", Status, Ack)


def _known(said: Sequence[_Said], fleet: Fleet) -> tuple[list[_Said], Ints]:
    """What devices that may publish said, and their slots."""
    slots = fleet.slots(np.array([one.key_id for one in said], np.int64))
    known = np.flatnonzero(slots >= 0)
    return [said[row] for row in known.tolist()], slots[known]


_Part = TypeVar("_Part", Positions, Measurements, TagReads)


def _keep(part: _Part, rows: NDArray[np.bool_]) -> _Part:
    chosen = np.flatnonzero(rows)
    columns: dict[str, Any] = {}
    for column in fields(part):
        values = getattr(part, column.name)
        if isinstance(values, np.ndarray):
            columns[column.name] = values[chosen]
        else:
            columns[column.name] = None if values is None else [values[i] for i in chosen]
    return type(part)(**columns)
