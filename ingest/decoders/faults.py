"""How a reader says no: one exception, and how the input is quoted in it."""

from ingest.readings import DeviceKey
from tracking.quality import Reject


class PayloadError(Exception):
    """A message, or one element of it, holds no reading. Never leaves `Decoder.decode`.

    `detail` is printable ASCII: it goes to PostgreSQL, which refuses NUL, and to terminals.
    `device` is given where the topic names one and yet leads nowhere.
    """

    def __init__(self, reason: Reject, detail: str, device: DeviceKey | None = None) -> None:
        self.reason = reason
        self.detail = detail
        self.device = device
        super().__init__(f"{reason}: {detail}")


def shown(value: object) -> str:
    """Quote a piece of the input: ASCII, at most 60 characters whatever its size."""
    if isinstance(value, (str, bytes)):
        # Cut before quoting: the value may be megabytes.
        text = ascii(value[:50]) + ("..." if len(value) > 50 else "")
    elif isinstance(value, float):
        text = format(value, ".15g")
    elif isinstance(value, int) and abs(value) >= 1 << 64:
        # Python refuses to print an int of more than 4,300 digits.
        text = "a number of more than 64 bits"
    else:
        text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
