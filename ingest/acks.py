"""What devices said of their commands, in the transaction of their batch."""

from collections import Counter
from typing import NamedTuple

from ingest.batch import Batch
from ingest.fleet import Fleet
from tracking.quality import Reject
from tracking.store.commands import Answer, settle_answers
from tracking.store.connection import Connection
from tracking.store.eventlog import Occurrence
from tracking.store.rejects import DeadLetter


class Lost(NamedTuple):
    """Words on commands there are not, or not of this device."""

    letters: list[DeadLetter]
    reasons: Counter[tuple[int, str, str]]


async def settle_acks(
    conn: Connection, batch: Batch, fleet: Fleet
) -> tuple[list[Occurrence], Lost]:
    """Bring the batch's acks to their commands."""
    lost = Lost([], Counter())
    if not batch.acks:
        return [], lost
    answers = []
    for local, ack in batch.acks:
        device = fleet.device(int(batch.slots[local]))
        answers.append(Answer(device, ack.command, ack.word, ack.result, ack.received_us))
    occurrences, unknown = await settle_answers(conn, answers)
    for at in unknown:
        ack, device = batch.acks[at][1], answers[at].device
        lost.letters.append(
            DeadLetter(
                topic=ack.message.topic.decode("utf-8", "backslashreplace"),
                payload=ack.message.payload,
                reason=Reject.UNKNOWN_COMMAND,
                detail=f"device {device.name} was given no command {ack.command}",
                received_us=ack.received_us,
                tenant_id=device.tenant_id,
                device=device.name,
            )
        )
        lost.reasons[device.tenant_id, device.name, Reject.UNKNOWN_COMMAND.value] += 1
    return occurrences, lost
