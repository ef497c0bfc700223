"""The quality codes of a stored fix and the reject reasons of a message that is not one.

A fix is never dropped: it is stored with one of `Quality`. A message that holds no fix at all
becomes a dead letter under one of `Reject`. Both names appear unchanged in SQL, JSON and metrics.
"""

from enum import IntEnum, StrEnum


class Quality(IntEnum):
    """What the filter said of a stored fix; the value is the one kept in `position.quality`.

    The first group depends on the fix alone (and when it was received) and is decided before
    storing. The second depends on the fixes before it in event time; the fold decides it, and a
    repair may change it. Only OK moves state.
    """

    OK = 0
    INVALID = 1  # the device itself says it has no fix
    NULL_ISLAND = 2  # (0, 0)
    FUTURE = 3  # the device clock is ahead of ours by more than `max_future_s`
    STALE = 4  # older than the late horizon when it arrived
    INACCURATE = 5  # accuracy worse than `max_accuracy_m`

    DUPLICATE = 6  # same time and place as the fix before it, under another seq
    IMPOSSIBLE_SPEED = 7  # nothing on this device can move that fast
    STATIC = 8  # place repeated bit for bit while the device claims to move

    @property
    def label(self) -> str:
        """The lower-case name used in JSON, SQL and metrics."""
        return self.name.lower()


class Reject(StrEnum):
    """Why a message, or one element of an array, was dead-lettered."""

    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    EMPTY = "empty"
    BAD_TOPIC = "bad_topic"
    BAD_DEVICE_NAME = "bad_device_name"
    UNKNOWN_TENANT = "unknown_tenant"
    UNKNOWN_DEVICE = "unknown_device"
    UNKNOWN_CHANNEL = "unknown_channel"
    UNKNOWN_COMMAND = "unknown_command"
    UNKNOWN_FORMAT = "unknown_format"
    MISSING_FIELD = "missing_field"
    BAD_FIELD = "bad_field"
    BAD_TIME = "bad_time"
    TIME_OUT_OF_RANGE = "time_out_of_range"
    COORDINATES_OUT_OF_RANGE = "coordinates_out_of_range"
    ENCRYPTED = "encrypted"
    STORE_REFUSED = "store_refused"
