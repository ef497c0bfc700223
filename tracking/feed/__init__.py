"""What goes through Redis: channel names, the JSON of positions and events, both ends of the wire.

Redis is fan-out only. Nothing waits for it and nothing is lost without it: a subscriber that was
cut off reads the database from its last cursor. Owns no SQL and no policy of who gets what.
"""

from tracking.feed.codec import (
    COMMANDS,
    CREDENTIALS,
    NOTICES,
    CloudEvent,
    EventRecord,
    LiveEvent,
    LivePosition,
    Origin,
    PositionUpdate,
    alerts_channel,
    attachments_notice,
    cloud_event,
    commands_notice,
    credentials_notice,
    decode_event,
    decode_positions,
    encode_event,
    encode_position,
    encode_positions,
    events_channel,
    fences_notice,
    live_event,
    live_position,
    position_update,
    position_updates,
    positions_channel,
    split_positions,
    webhooks_notice,
)
from tracking.feed.link import ping
from tracking.feed.publisher import Publisher
from tracking.feed.rates import SharedRates
from tracking.feed.subscriber import Delivery, Lost, Subscribed, Subscriber

__all__ = [
    "COMMANDS",
    "CREDENTIALS",
    "NOTICES",
    "CloudEvent",
    "Delivery",
    "EventRecord",
    "LiveEvent",
    "LivePosition",
    "Lost",
    "Origin",
    "PositionUpdate",
    "Publisher",
    "SharedRates",
    "Subscribed",
    "Subscriber",
    "alerts_channel",
    "attachments_notice",
    "cloud_event",
    "commands_notice",
    "credentials_notice",
    "decode_event",
    "decode_positions",
    "encode_event",
    "encode_position",
    "encode_positions",
    "events_channel",
    "fences_notice",
    "live_event",
    "live_position",
    "ping",
    "position_update",
    "position_updates",
    "positions_channel",
    "split_positions",
    "webhooks_notice",
]
