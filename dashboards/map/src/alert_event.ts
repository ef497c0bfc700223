/** Alerts out of events. Pure. */

import type { Alert, AlertState, Severity, WaymarkEvent } from './model.ts';

/** An alert as an event about it tells; null for other events. */
export function alertOf(event: WaymarkEvent): Alert | null {
  const { alert, rule, severity, state, fence, event: cause } = event.data;
  if (!event.type.startsWith('alert.') || typeof alert !== 'string') return null;
  const of = (cause ?? {}) as Partial<Alert['event']>;
  return {
    id: alert, rule: String(rule ?? ''), severity: (severity ?? 'warning') as Severity, state: (state ?? 'open') as AlertState,
    device: event.subject, fence: typeof fence === 'string' ? fence : null, opened_at: of.time ?? event.time,
    event: { id: of.id ?? '', type: of.type ?? '', time: of.time ?? event.time, data: event.data },
  };
}
