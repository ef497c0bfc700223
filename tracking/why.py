"""Why an event was raised: the fixes, what the filter and the fold made of them, and the limits.

Pure: `explain` folds again what `tracking.store.evidence` read. The numbers are the fold's own,
not an imitation of it.
"""

from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from tracking.alert_life import AlertView, alert_view
from tracking.because import (
    FixTold,
    clock,
    counted,
    fence_fix,
    motion_fix,
    seconds,
    speed_fix,
)
from tracking.feed import CloudEvent, cloud_event
from tracking.fold import Rules
from tracking.fold.fences import CHORD_MAX_US
from tracking.quality import Quality
from tracking.retrace import Trace, Traced, retrace
from tracking.store.evidence import Edited, EventEvidence
from tracking.store.fence_reads import FenceView
from tracking.times import iso, to_us
from tracking.troubles import because_of

# Of a longer run the first and the last are told.
_TOLD_FIRST, _TOLD_LAST = 50, 150
_LATE_TOLD = 50


class LaterNews(msgspec.Struct, frozen=True):
    """What came after the event was first told: late fixes, and edits of the fence."""

    fixes: list[FixTold]
    edits: list[Edited]


class Explanation(msgspec.Struct, frozen=True):
    """An event explained; null for what does not apply to its type.

    `because` says it in sentences. `reproduced` tells whether folding what is stored again raises
    the event; of a retracted one it should not. `complete` is false where fixes are gone or the
    fold had to start without the state before them.
    """

    event: CloudEvent
    because: list[str]
    thresholds: dict[str, Any]
    fence: FenceView | None = None
    rule: dict[str, Any] | None = None
    alert: AlertView | None = None
    source_event: CloudEvent | None = None
    fixes: list[FixTold] = []
    fixes_omitted: int = 0
    later: LaterNews | None = None
    reproduced: bool | None = None
    complete: bool = True
    notes: list[str] = []


def explain(evidence: EventEvidence, rules: Rules) -> Explanation:
    """Explain an event. Folds up to 20,000 fixes (0.3 s), so not in an event loop."""
    type_ = evidence.event.type
    if type_.startswith("alert."):
        return _alert(evidence)
    if evidence.folded is None:
        return _told_only(evidence)
    return _Folded(evidence, rules).explanation()


def _told_only(evidence: EventEvidence) -> Explanation:
    event = evidence.event
    data: dict[str, Any] = event.data
    thresholds: dict[str, Any] = {}
    match event.type:
        case "device.silent":
            thresholds = {"silent_after_s": data["silent_after_s"]}
            because = (
                f"nothing was heard of {event.subject} for {seconds(data['silent_after_s'])} after "
                f"{data['heard_at']}, by our clock"
            )
        case "device.online" | "device.offline":
            word = event.type.partition(".")[2]
            because = (
                f"{event.subject}, or its last will at the broker, said at {iso(event.time_us)} on "
                f"its status channel that it is {word}; it was not known to be"
            )
        case _:
            because, thresholds = because_of(event.type, data) or (
                "no fixes stand behind this event: what it says is all that is known",
                {},
            )
    return Explanation(cloud_event(event), [because], thresholds, fence=evidence.fence)


def _alert(evidence: EventEvidence) -> Explanation:
    event, alert, stored, source = (
        evidence.event,
        evidence.alert,
        evidence.alert_rule,
        evidence.source,
    )
    data: dict[str, Any] = event.data
    thresholds: dict[str, Any] = {}
    version = f"rule {data['rule']}, version {data['rule_version']}"
    source_type, source_time = data["event"]["type"], data["event"]["time"]
    because = [f"{version}, fits {source_type} of {event.subject} at {source_time}"]
    rule = None
    if stored is not None:
        rule = msgspec.to_builtins(stored.version.rule)
        rule |= {"version": stored.version.version, "updated_by": stored.updated_by}
        limits = ("cooldown_s", "quiet_hours", "escalate_after_s", "where", "clears_on", "late")
        thresholds = {name: rule[name] for name in limits if name in rule}
    if event.type != "alert.opened":
        told = {name: data[name] for name in ("reason", "by", "until", "note") if name in data}
        more = "".join(f", {name} {value}" for name, value in told.items())
        because.append(f"{event.type.partition('.')[2]} at {iso(event.time_us)}{more}")
    if alert is not None and alert.due_us is not None:
        because.append(f"it changes by itself at {iso(alert.due_us)} if nobody acts before")
    if source is not None and source.status == "retracted":
        because.append("the event behind it has since been retracted")
    return Explanation(
        cloud_event(event),
        because,
        thresholds,
        rule=rule,
        alert=None if alert is None else alert_view(alert),
        source_event=None if source is None else cloud_event(source),
    )


@dataclass(slots=True)
class _Folded:
    """The explanation of one event the fold raised."""

    evidence: EventEvidence
    rules: Rules

    def explanation(self) -> Explanation:
        """Fold, and tell."""
        evidence, folded = self.evidence, self.evidence.folded
        assert folded is not None  # noqa: S101 -- asked for by the caller
        trace = retrace(folded, self.rules)
        confirming = self._confirming(trace)
        fixes = [self._told(traced, trace, confirming) for traced in trace.fixes]
        omitted = max(0, len(fixes) - _TOLD_FIRST - _TOLD_LAST)
        shown = fixes[:_TOLD_FIRST] + fixes[_TOLD_FIRST + omitted :]
        reproduced = any(
            (fact.type, fact.time_us, fact.rule or None)
            == (evidence.event.type, evidence.event.time_us, evidence.rule)
            for fact in trace.facts
        )
        notes = self._notes(trace, confirming, reproduced=reproduced)
        return Explanation(
            event=cloud_event(evidence.event),
            because=self._because(trace, confirming, fixes),
            thresholds=self._thresholds(trace, confirming),
            fence=evidence.fence,
            fixes=shown,
            fixes_omitted=omitted,
            later=self._later(trace, confirming),
            reproduced=reproduced,
            complete=folded.whole and (confirming is not None or self._by_deletion()),
            notes=notes,
        )

    def _by_deletion(self) -> bool:
        return self.evidence.event.data.get("reason") == "deleted"

    def _confirming(self, trace: Trace) -> Traced | None:
        """The fix that made the fold sure of the event when it was last told."""
        for traced in reversed(trace.fixes):
            if (traced.fix.time_us, traced.fix.seq) == self.evidence.confirmed:
                return traced
        return None

    def _told(self, traced: Traced, trace: Trace, confirming: Traced | None) -> FixTold:
        late = confirming is not None and traced.fix.received_us > confirming.fix.received_us
        type_ = self.evidence.event.type
        if type_ == "speed.exceeded":
            limit_mps: Any = self.evidence.event.data["limit_mps"]
            return speed_fix(traced, trace, limit_mps, late=late)
        if type_.startswith("fence."):
            return fence_fix(traced, trace, late=late)
        return motion_fix(traced, self.rules, late=late)

    def _because(self, trace: Trace, confirming: Traced | None, fixes: list[FixTold]) -> list[str]:
        event = self.evidence.event
        said = []
        if event.status == "retracted":
            said.append(
                f"taken back at {iso(event.recorded_at_us)}: what is stored now does not raise it"
            )
        if confirming is not None:
            at = trace.fixes.index(confirming)
            said.append(f"{clock(confirming.fix.time_us)}: {fixes[at].because}")
        elif self._by_deletion():
            place = "the device was inside when it was last seen"
            said.append(f"the fence ended at {iso(event.time_us)}, and {place}")
        if event.type == "fence.dwelled":
            data: dict[str, Any] = event.data
            said.append(
                f"inside since {data['entered_at']}, so for {seconds(data['dwell_s'])} then"
            )
        if event.time_us < (self.evidence.confirmed or (0, 0))[0]:
            said.append(f"it happened at {iso(event.time_us)} and was certain with that fix")
        if event.late and event.status == "active":
            said.append("found by folding the history again, after late fixes or an edited fence")
        rejected = [t for t in trace.fixes if not t.used]
        for quality in sorted({t.quality for t in rejected}):
            n = sum(t.quality == quality for t in rejected)
            said.append(f"{counted(n, 'fix')} among them not used: {Quality(quality).label}")
        return said

    def _thresholds(self, trace: Trace, confirming: Traced | None) -> dict[str, Any]:
        event, fence = self.evidence.event, self.evidence.fence
        if event.type.startswith(("motion.", "trip.")) or fence is None:
            return asdict(self.rules)
        if event.type == "speed.exceeded":
            return {
                "speed_limit_mps": event.data["limit_mps"],
                "fixes": 2,
                "schedule": fence.schedule,
            }
        limits: dict[str, Any] = {
            "enter_m": fence.buffers.enter_m,
            "exit_m": fence.buffers.exit_m,
            "min_fixes": fence.buffers.min_fixes,
            "dwell_s": fence.dwell_s,
            "schedule": fence.schedule,
        }
        if event.type == "fence.crossed":
            limits |= {"crossed_min_depth_m": 20.0, "crossed_max_gap_s": CHORD_MAX_US / 1e6}
        zone = next((t.zone for t in reversed(trace.fixes) if t.zone is not None), None)
        if zone is not None:
            limits |= {
                "profile": zone.calm.profile.value,
                "inradius_m": round(zone.inradius_m, 1),
            }
        if confirming is not None and confirming.look is not None:
            look = confirming.look
            calm = zone.calm if look.nearest is None and zone else None
            calm = look.nearest.calm if look.nearest is not None else calm
            limits |= {
                "interval_s": round(look.seen.interval_s, 1),
                "buffer_m": round(look.glance.buffer_m, 1),
                "fixes": None if calm is None else calm.fixes(look.seen.interval_s),
            }
        return limits

    def _later(self, trace: Trace, confirming: Traced | None) -> LaterNews | None:
        event = self.evidence.event
        if confirming is None or (event.revision == 1 and not event.late):
            return None
        since_us = confirming.fix.received_us
        late = [t for t in trace.fixes if since_us < t.fix.received_us <= event.recorded_at_us]
        edits = [
            edit
            for edit in self.evidence.edits
            if since_us < to_us(edit.recorded_at) <= event.recorded_at_us
        ]
        return LaterNews([self._told(t, trace, confirming) for t in late[:_LATE_TOLD]], edits)

    def _notes(self, trace: Trace, confirming: Traced | None, *, reproduced: bool) -> list[str]:
        folded, event = self.evidence.folded, self.evidence.event
        notes = []
        if not trace.fixes or (confirming is None and not self._by_deletion()):
            notes.append(
                "the fixes behind this event are no longer stored: readings are kept for a time"
            )
        elif folded is not None and not folded.whole:
            notes.append(
                "the state before is no longer kept: the fold began from nothing, "
                f"{counted(len(folded.fixes), 'fix')} before"
            )
        if folded is not None and folded.repair_waits:
            notes.append(
                "the device waits for a repair: late fixes will soon be taken into account"
            )
        if trace.fixes and not reproduced and event.status == "active":
            notes.append(
                "folding what is stored now does not raise this event: thresholds, or who the "
                "device is, changed since"
            )
        return notes
