"""The MQTT client of the ingest worker: the one seam that knows the protocol.

MQTT 3.1.1, persistent session, QoS 1 in, PUBACK by hand. `codec` and `reader` are sans-I/O,
`connection` is one TCP connection, `session` outlives connections. Written for this path
because general clients cost 10-50 us of CPU per message here and this one costs 1-2.5.
"""

from ingest.mqtt.codec import ProtocolError
from ingest.mqtt.options import SessionOptions, session_options
from ingest.mqtt.reader import Message
from ingest.mqtt.session import Session

__all__ = ["Message", "ProtocolError", "Session", "SessionOptions", "session_options"]
