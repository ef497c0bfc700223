/** Events say that shipments have changed: which to read again, and when. Pure; times come in. */

import type { WaymarkEvent } from './model.ts';

// Of one turn, which comes each second: a page costs the server no more than this, whatever happens.
const EACH_TURN = 4;
// More than this many that wait are read with the list, in a few pages rather than one by one.
const SWAMPED = 40;
const LIST_EVERY_MS = 10_000;
// Silence makes no event: what is shown is never older than this.
const GOOD_FOR_MS = 60_000;

/** The shipment an event is about; null for other events. */
export function shipmentOf(event: WaymarkEvent): string | null {
  return event.subject.startsWith('shipment/') ? event.subject.slice('shipment/'.length) : null;
}

export class Hints {
  private readonly waiting = new Set<string>();
  private listed_ms = -Infinity;

  hear(id: string): void {
    this.waiting.add(id);
  }

  /** The list was read, and with it whatever waited. */
  listed(now_ms: number): void {
    this.waiting.clear();
    this.listed_ms = now_ms;
  }

  /** What to read in this turn: the list, or a few by their ids, `first` before the others and those that `lack` last. */
  turn(now_ms: number, first: string | null, lack: readonly string[]): 'list' | readonly string[] {
    const age_ms = now_ms - this.listed_ms;
    if (age_ms >= GOOD_FOR_MS || (this.waiting.size > SWAMPED && age_ms >= LIST_EVERY_MS)) return 'list';
    const hinted = [...this.waiting].sort((a, b) => Number(b === first) - Number(a === first));
    const ids = [...new Set([...hinted, ...lack])].slice(0, EACH_TURN);
    for (const id of ids) this.waiting.delete(id);
    return ids;
  }
}
