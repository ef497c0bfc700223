"""The worker's memory of the fleet: who a topic's device is, and its last known fold state.

A cache, never the truth: states are used only under the device's lock and only at the version
the database has. A worker that loses this object loses nothing.
"""

from collections.abc import Sequence
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from ingest.readings import DeviceKey
from tracking.fold.state import StateArray, initial_states, load_record
from tracking.quality import Reject
from tracking.store.connection import Connection
from tracking.store.eventlog import Device
from tracking.store.registry import find_devices, register_devices, tenant_ids

Ints = NDArray[np.int64]

# In `slot_of`: not yet looked up, and looked up in vain.
_UNSEEN, _NO_TENANT, _NO_DEVICE = -1, -2, -3
REFUSALS = {_NO_TENANT: Reject.UNKNOWN_TENANT, _NO_DEVICE: Reject.UNKNOWN_DEVICE}

# A refused tenant or device that is added later is heard after this long.
_ASK_AGAIN_S = 5.0

# A version no row has: forces the state to be read.
_UNREAD = -1


class Fleet:
    """Devices by slot, in columns that grow. One per worker; not shared between tasks."""

    def __init__(self, *, register: bool) -> None:
        self._register = register
        self.clear()

    def clear(self) -> None:
        """Forget every device, as if just started."""
        self.keys: list[DeviceKey] = []
        self.tenants: dict[str, int] = {}
        self.device_id: Ints = np.empty(0, np.int64)
        self.tenant_id: Ints = np.empty(0, np.int64)
        self.version: Ints = np.empty(0, np.int64)
        self.states: StateArray = initial_states(0)
        self.presences: list[bytes | None] = []
        self._slot_of: Ints = np.empty(0, np.int64)
        self._ask_again_s = 0.0

    def slots(self, key_ids: NDArray[np.integer]) -> Ints:
        """The slots of decoder key ids, after `resolve`; negative (see REFUSALS) if unknown."""
        result: Ints = self._slot_of[key_ids]
        return result

    async def resolve(self, conn: Connection, keys: Sequence[DeviceKey]) -> None:
        """Give every key of the decoder (index = key id) a slot, registering what may be.

        Keys refused earlier are asked for again now and then: they may have been added.
        """
        missing = np.full(len(keys), _UNSEEN, np.int64)
        missing[: len(self._slot_of)] = self._slot_of
        self._slot_of = missing
        wanted = np.flatnonzero(self._slot_of < 0).tolist()
        unseen = bool((self._slot_of == _UNSEEN).any())
        if not wanted or not (unseen or monotonic() >= self._ask_again_s):
            return
        self._ask_again_s = monotonic() + _ASK_AGAIN_S
        tenants = self.tenants = await tenant_ids(conn)
        known = {
            i: (tenants[keys[i].tenant], keys[i].name) for i in wanted if keys[i].tenant in tenants
        }
        found = await find_devices(conn, list(known.values()))
        if self._register and len(found) < len(set(known.values())):
            await register_devices(conn, [key for key in known.values() if key not in found])
            found = await find_devices(conn, list(known.values()))
        for i in wanted:
            if i not in known:
                self._slot_of[i] = _NO_TENANT
            elif known[i] not in found:
                self._slot_of[i] = _NO_DEVICE
        fresh = [i for i in wanted if known.get(i) in found]
        self._add(keys, fresh, [(known[i][0], found[known[i]]) for i in fresh])

    def _add(
        self, keys: Sequence[DeviceKey], key_ids: list[int], rows: list[tuple[int, int]]
    ) -> None:
        n = len(self.keys)
        self._slot_of[key_ids] = np.arange(n, n + len(key_ids))
        self.keys.extend(keys[i] for i in key_ids)
        self.tenant_id = np.append(self.tenant_id, [row[0] for row in rows]).astype(np.int64)
        self.device_id = np.append(self.device_id, [row[1] for row in rows]).astype(np.int64)
        self.version = np.append(self.version, [_UNREAD] * len(rows)).astype(np.int64)
        self.states = np.append(self.states, initial_states(len(rows)))
        self.presences += [None] * len(rows)

    def device(self, slot: int) -> Device:
        """The device of a slot, as events name it."""
        tenant, name = self.keys[slot]
        return Device(tenant, int(self.tenant_id[slot]), name, int(self.device_id[slot]))

    def take(
        self,
        slots: Ints,
        device_id: Ints,
        moved: list[tuple[int, int, bytes | None, bytes | None]],
    ) -> Ints:
        """Take over states another writer moved: (device_id, version, fold, presences) of some of
        `slots`.

        Returns the slots whose stored state this code cannot read: they start from nothing, and
        the caller must have them rebuilt from the readings.
        """  # noqa: D205 -- one contract
        unreadable: list[int] = []
        if not moved:
            return np.array(unreadable, np.int64)
        slot_of = dict(zip(device_id.tolist(), slots.tolist(), strict=True))
        for id_, version, fold, presences in moved:
            slot = slot_of[id_]
            record = load_record(fold)
            if record is None and fold is not None:
                unreadable.append(slot)
            self.states[slot] = initial_states(1)[0] if record is None else record[0]
            self.presences[slot] = None if record is None else presences
            self.version[slot] = version
        return np.array(unreadable, np.int64)

    def knows(self, slots: Ints) -> bool:
        """Whether the states of all of them were read at some version."""
        return bool((self.version[slots] != _UNREAD).all())

    def forget(self) -> None:
        """Trust no cached state: the outcome of a transaction is not known."""
        self.version[:] = _UNREAD
