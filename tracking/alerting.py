"""What becomes of events that match rules: alerts, and everything that changes them. Pure.

Each rule and event have one alert, whose id follows from theirs. An event that a cooldown or
quiet hours keep silent is kept too, in state `suppressed`, so that it can be told why nobody was
told, and so that it speaks up when the alert that silenced it is taken back.

The same desk serves the live follower, which gives it the alerts it may need from the database,
and the test of a rule, which starts with none.
"""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from tracking.alert_life import (
    Alert,
    Key,
    Notice,
    begin_again,
    end,
    escalation_us,
    notice,
    notice_data,
)
from tracking.feed import EventRecord
from tracking.rules import Matcher, RuleVersion

if TYPE_CHECKING:
    from uuid import UUID

# Why an alert ended without anybody's doing; the event that comes back, brings it back.
_WITHDRAWN = ("retracted", "amended")


class Seen(NamedTuple):
    """An event, and what is known of its device."""

    event: EventRecord
    device_id: int | None = None
    groups: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def fence(self) -> str | None:
        """The public id of the fence it is about."""
        fence = self.event.data.get("fence")
        return fence if isinstance(fence, str) else None


class Clearing(NamedTuple):
    """An event that ends alerts of one device and fence raised before it."""

    event_id: str
    time_us: int


class Desk:
    """Takes events in the order of their cursors; holds the alerts they concern.

    `versions` are rules as they were, for alerts of an earlier version or of a rule that is gone.
    Afterwards `changed`, `dropped` and `notices` are what must be written. Made for one batch,
    used by one task.
    """

    def __init__(
        self, matcher: Matcher, versions: Mapping[tuple[int, int], RuleVersion] | None = None
    ) -> None:
        self._matcher = matcher
        self.versions = {(v.number, v.version): v for v in matcher.versions}
        self.versions.update(versions or {})
        self.alerts: dict[UUID, Alert] = {}
        self.changed: dict[UUID, Alert] = {}
        self.dropped: set[UUID] = set()
        self.notices: list[Notice] = []
        # For alerts that open after the fact: what, known already, has cleared them since.
        self.cleared_since: dict[UUID, Clearing] = {}
        self._of_event: dict[str, list[Alert]] = defaultdict(list)
        self._cleared_by: dict[str, list[Alert]] = defaultdict(list)
        self._silenced: dict[UUID, dict[UUID, Alert]] = defaultdict(dict)
        self._speaking: dict[Key, list[tuple[int, UUID]]] = defaultdict(list)
        self._unresolved: dict[tuple[int, str], dict[UUID, Alert]] = defaultdict(dict)
        self._matches: dict[str, list[RuleVersion]] = {}

    def add(self, alerts: Iterable[Alert]) -> None:
        """Let alerts of before take part; one that is here already is left as it is."""
        for alert in alerts:
            if alert.id not in self.alerts:
                self._file(alert)

    def matches(self, seen: Seen) -> list[RuleVersion]:
        """The rules an event fits, found once."""
        found = self._matches.get(seen.event.id)
        if found is None:
            found = self._matches[seen.event.id] = self._matcher.match(
                seen.event, seen.groups, seen.tags
            )
        return found

    def clearing(self, type_: str) -> tuple[RuleVersion, ...]:
        """The rules whose alerts an event of the type resolves."""
        return self._matcher.clearing(type_)

    def take(self, seen: Seen, now_us: int) -> None:
        """Do all that an event asks for."""
        event = seen.event
        if event.status == "retracted":
            for alert in list(self._of_event[event.id]):
                alert.event_status = "retracted"
                self._withdraw(alert, "retracted", now_us)
            for alert in list(self._cleared_by[event.id]):
                self._reopen(alert, now_us, reason="clearing retracted")
            return
        known = list(self._of_event[event.id])
        for alert in known:
            self._amend(alert, event, now_us)
        numbers = {alert.rule_number for alert in known}
        for version in self.matches(seen):
            if version.number not in numbers:
                self._judge(candidate(version, seen, now_us), now_us)
        self._clear(seen, now_us)

    def _judge(self, alert: Alert, now_us: int) -> None:
        """Open an alert, or keep its event silent."""
        version = self._version(alert)
        holder = self._holder(alert, version.rule.cooldown_s)
        if version.quiet_at(alert.opened_us):
            alert.state, alert.suppressed_reason = "suppressed", "quiet"
        elif holder is not None:
            alert.state, alert.suppressed_reason = "suppressed", "cooldown"
            alert.suppressed_by = holder.id
            holder.suppressed_n += 1
            self.changed[holder.id] = holder
        else:
            alert.state, alert.suppressed_reason, alert.suppressed_by = "open", None, None
            alert.recorded_us = now_us
            alert.due_us = self._escalation_us(alert, now_us)
        self._file(alert)
        self.changed[alert.id] = alert
        if alert.state == "open":
            self._tell_opened(alert)
            cleared = self.cleared_since.get(alert.id)
            if cleared is not None:
                self._resolve_cleared(alert, cleared, now_us)

    def _holder(self, alert: Alert, cooldown_s: float) -> Alert | None:
        """The alert nearest in device time that silences this one."""
        times = self._speaking.get(alert.key)
        if not cooldown_s or not times:
            return None
        at = bisect_left(times, (alert.opened_us, alert.id))
        near = min(times[max(at - 1, 0) : at + 1], key=lambda one: abs(one[0] - alert.opened_us))
        if abs(near[0] - alert.opened_us) >= cooldown_s * 1e6:
            return None
        return self.alerts[near[1]]

    def _amend(self, alert: Alert, event: EventRecord, now_us: int) -> None:
        """Bring an alert in line with the latest revision of its event."""
        # `late` stays: it tells how the event was when it was judged.
        differs = alert.data != event.data
        back = alert.event_status != event.status
        alert.data, alert.event_status = event.data, event.status
        if not self._version(alert).holds(event):
            self._withdraw(alert, "amended", now_us)
            return
        if alert.state == "suppressed":
            if differs:
                self.changed[alert.id] = alert
            return
        self._speak(alert)
        if back:
            self.changed[alert.id] = alert
        if alert.state == "resolved" and alert.resolved_reason in _WITHDRAWN:
            self._reopen(alert, now_us, reason="reinstated")
        if differs:
            self.changed[alert.id] = alert
            self._tell_opened(alert)

    def _withdraw(self, alert: Alert, reason: str, now_us: int) -> None:
        """Take an alert back; whom it silenced is judged again, in device time."""
        if alert.state == "suppressed":
            self._drop(alert)
            return
        self.changed[alert.id] = alert
        self._hush(alert)
        if alert.state != "resolved":
            self._resolve(alert, now_us, reason=reason)
        silenced = self._silenced.pop(alert.id, {})
        alert.suppressed_n = 0
        for other in sorted(silenced.values(), key=lambda one: (one.opened_us, one.id)):
            other.suppressed_by = None
            self._judge(other, now_us)

    def _drop(self, alert: Alert) -> None:
        """Forget an event that was kept silent and never was, or no longer matters."""
        self.changed.pop(alert.id, None)
        self.dropped.add(alert.id)
        self._of_event[alert.event_id].remove(alert)
        del self.alerts[alert.id]
        holder = self.alerts.get(alert.suppressed_by) if alert.suppressed_by else None
        if holder is not None:
            holder.suppressed_n -= 1
            self.changed[holder.id] = holder
            self._silenced[holder.id].pop(alert.id, None)

    def _clear(self, seen: Seen, now_us: int) -> None:
        """Resolve what the event ends: alerts of its device, and of its fence if both have one."""
        event = seen.event
        for version in self._matcher.clearing(event.type):
            found = self._unresolved.get((version.number, event.subject))
            for alert in list(found.values()) if found else ():
                same_place = seen.fence is None or alert.fence in {None, seen.fence}
                if same_place and alert.opened_us <= event.time_us:
                    self._resolve_cleared(alert, Clearing(event.id, event.time_us), now_us)

    def _resolve_cleared(self, alert: Alert, clearing: Clearing, now_us: int) -> None:
        alert.resolved_event = clearing.event_id
        self._cleared_by[clearing.event_id].append(alert)
        self._resolve(alert, now_us, reason="cleared", cleared_by=clearing.event_id)

    def _resolve(self, alert: Alert, now_us: int, *, reason: str, **more: str) -> None:
        end(alert, now_us, reason)
        self._unresolved[alert.rule_number, alert.device].pop(alert.id, None)
        self.changed[alert.id] = alert
        self.notices.append(notice(alert, "alert.resolved", now_us, reason=reason, **more))

    def _reopen(self, alert: Alert, now_us: int, *, reason: str) -> None:
        if alert.resolved_event is not None:
            self._cleared_by[alert.resolved_event].remove(alert)
        cleared = self.cleared_since.get(alert.id)
        if cleared is not None:
            # It stays resolved, for another reason: nothing to tell.
            alert.resolved_reason, alert.resolved_event = "cleared", cleared.event_id
            self._cleared_by[cleared.event_id].append(alert)
            self.changed[alert.id] = alert
            return
        begin_again(alert, self._escalation_us(alert, now_us))
        self._unresolved[alert.rule_number, alert.device][alert.id] = alert
        self.changed[alert.id] = alert
        self.notices.append(notice(alert, "alert.reopened", now_us, reason=reason))

    def _file(self, alert: Alert) -> None:
        known = alert.id in self.alerts
        self.alerts[alert.id] = alert
        if not known:
            self._of_event[alert.event_id].append(alert)
        if alert.resolved_event is not None and alert.resolved_reason == "cleared":
            self._cleared_by[alert.resolved_event].append(alert)
        if alert.state == "suppressed":
            if alert.suppressed_by is not None:
                self._silenced[alert.suppressed_by][alert.id] = alert
            return
        if alert.event_status == "active" and alert.resolved_reason != "amended":
            self._speak(alert)
        if alert.state != "resolved":
            self._unresolved[alert.rule_number, alert.device][alert.id] = alert

    def _speak(self, alert: Alert) -> None:
        """Let it silence others; a second time changes nothing."""
        times, entry = self._speaking[alert.key], (alert.opened_us, alert.id)
        at = bisect_left(times, entry)
        if times[at : at + 1] != [entry]:
            insort(times, entry)

    def _hush(self, alert: Alert) -> None:
        times, entry = self._speaking[alert.key], (alert.opened_us, alert.id)
        if entry in times:
            times.remove(entry)

    def _version(self, alert: Alert) -> RuleVersion:
        return self.versions[alert.rule_number, alert.rule_version]

    def _escalation_us(self, alert: Alert, now_us: int) -> int | None:
        return escalation_us(self._version(alert), alert, now_us)

    def _tell_opened(self, alert: Alert) -> None:
        # Told again, it is an amendment of the same event: nothing in it may depend on what
        # became of the alert since.
        data = notice_data(alert) | {
            "severity": self._version(alert).rule.severity,
            "state": "open",
        }
        self.notices.append(Notice(alert, "alert.opened", alert.opened_us, data))


def candidate(version: RuleVersion, seen: Seen, now_us: int) -> Alert:
    """The alert of a rule and an event, before it is judged."""
    event = seen.event
    return Alert(
        id=version.alert_id(event.id),
        rule=version.rule.id,
        rule_number=version.number,
        rule_version=version.version,
        event_id=event.id,
        event_type=event.type,
        event_status=event.status,
        late=event.late,
        data=event.data,
        device=event.subject,
        device_id=seen.device_id,
        fence=seen.fence,
        severity=version.rule.severity,
        state="open",
        opened_us=event.time_us,
        recorded_us=now_us,
    )
