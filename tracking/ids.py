"""How ids that people choose are spelled, wherever they are read."""

ID = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$"
# Without a colon: its fences are `shipment:<its id>:<a number>`.
SHIPMENT_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
# Of those a series makes the ids end with a date, as `-20260302`.
PICKUP_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,54}$"


def whole(pattern: str) -> str:
    """The same for Python's `re`, whose `$` also matches before a last newline."""
    return rf"{pattern}(?!\n)"
