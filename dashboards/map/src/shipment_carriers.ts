/** Which device carries which shipment, and so what is wrong with what a device carries. Pure; times come in. */

import { TROUBLES, type Shipment, type ShipmentDetail } from './shipment_model.ts';
import { TROUBLE_NAMES } from './shipment_words.ts';

// A load that is handed on makes no event.
const GOOD_FOR_MS = 5 * 60_000;

/** What stands beside a device's name on the map. */
export interface Flag {
  readonly words: string;
  readonly tone: 'warn' | 'bad';
}

export class Carriers {
  private readonly known = new Map<string, { device: string | null; since_ms: number }>();
  private flags = new Map<string, Flag>();

  put({ id, last_seen }: ShipmentDetail, now_ms: number): void {
    this.known.set(id, { device: last_seen.carried_by?.device ?? null, since_ms: now_ms });
  }

  /** Of these, those in trouble of which nobody was asked lately who carries them. */
  lacking(shipments: readonly Shipment[], now_ms: number): readonly string[] {
    const old = ({ id }: Shipment): boolean => now_ms - (this.known.get(id)?.since_ms ?? -Infinity) > GOOD_FOR_MS;
    return shipments.filter((shipment) => inTrouble(shipment) && old(shipment)).map(({ id }) => id);
  }

  /** Flag the devices that carry those of these that are in trouble, by the worst, which comes first. */
  flag(shipments: readonly Shipment[]): void {
    const found = new Map<string, Shipment[]>();
    for (const shipment of shipments.filter(inTrouble)) {
      const device = this.known.get(shipment.id)?.device ?? null;
      if (device !== null) found.set(device, [...(found.get(device) ?? []), shipment]);
    }
    this.flags = new Map([...found].map(([device, loads]) => [device, flagOf(loads)]));
  }

  flagOf(device: string): Flag | null {
    return this.flags.get(device) ?? null;
  }

  get flagged(): Iterable<string> {
    return this.flags.keys();
  }
}

function inTrouble({ status, exceptions }: Shipment): boolean {
  return exceptions.length > 0 && status !== 'delivered' && status !== 'cancelled';
}

function flagOf(loads: readonly Shipment[]): Flag {
  const [first] = loads;
  const worst = TROUBLES.find((trouble) => first?.exceptions.includes(trouble)) ?? 'at_risk';
  const [name, tone] = TROUBLE_NAMES[worst];
  const others = loads.length === 1 ? '' : ` and ${loads.length - 1} more`;
  return { words: `${first?.id} ${name.toLowerCase()}${others}`, tone };
}
