"""rumqttd in a process of its own, where a signal ends it. Run as a script: OPTIONS as JSON."""

import json
import logging
import sys

from iotcore import IotCoreBroker

if __name__ == "__main__":
    # rumqttd routes inside error spans: every packet would be an ERROR line.
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("rumqttd").setLevel(logging.CRITICAL)
    IotCoreBroker(**json.loads(sys.argv[1])).run_forever()
