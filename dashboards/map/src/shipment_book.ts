/** The shipments the page has read, and which of them the list shows in what order. Pure. */

import { OPEN, TROUBLES, UNDER_WAY, type Shipment, type ShipmentStatus, type Trouble } from './shipment_model.ts';
import { nextStop } from './shipment_words.ts';

/** What the list shows. */
export type Shelf = 'trouble' | 'under_way' | 'all';

/** Which shipments to ask the API for; absent members leave that open. */
export interface ShipmentQuery {
  readonly status?: readonly ShipmentStatus[];
  readonly exception?: readonly Trouble[];
  readonly order?: string;
  /** What the id begins with. */
  readonly id?: string;
  readonly device?: string;
}

/** Asked on every shelf: the count of those in trouble is always shown. */
const IN_TROUBLE: ShipmentQuery = { status: OPEN, exception: TROUBLES };
const REST: Readonly<Record<Shelf, readonly ShipmentQuery[]>> = { trouble: [], under_way: [{ status: UNDER_WAY }], all: [{}] };
// More rows than anyone scrolls through, as in the list of devices.
const MAX_ROWS = 100;

/** A page of an answer, and whether there is more than it. */
export interface Part {
  readonly items: readonly Shipment[];
  readonly more: boolean;
}

/** What a list asks for: those in trouble, the rest of its shelf, and what is searched for. */
export function queries(shelf: Shelf, search: string): readonly ShipmentQuery[] {
  return [IN_TROUBLE, ...REST[shelf], ...(search === '' ? [] : [{ id: search }, { order: search }])];
}

export class ShipmentBook {
  private shipments = new Map<string, Shipment>();
  /** Those in trouble, or on the shelf, are more than were read. */
  private troubleMore = false;
  private shelfMore = false;

  get(id: string): Shipment | undefined {
    return this.shipments.get(id);
  }

  /** Take what `queries` was answered in place of all that was known. */
  settle(parts: readonly Part[]): void {
    this.shipments = new Map(parts.flatMap(({ items }) => items).map((shipment) => [shipment.id, shipment]));
    this.troubleMore = parts[0]?.more ?? false;
    this.shelfMore = parts.some(({ more }) => more);
  }

  put(shipment: Shipment): void {
    this.shipments.set(shipment.id, shipment);
  }

  drop(id: string): void {
    this.shipments.delete(id);
  }

  /** Those in trouble, as far as they are known, and whether there are more. */
  troubled(): { count: number; more: boolean } {
    const count = [...this.shipments.values()].filter((each) => belongs(each, 'trouble')).length;
    return { count, more: this.troubleMore };
  }

  /** What a shelf shows of what is searched for, the worst first; `more` when some are left out. */
  rows(shelf: Shelf, search: string): { shown: readonly Shipment[]; more: boolean } {
    const wanted = search.toLowerCase();
    const matches = ({ id, order_ref }: Shipment): boolean =>
      id.toLowerCase().includes(wanted) || (order_ref?.toLowerCase().includes(wanted) ?? false);
    const found = [...this.shipments.values()].filter((each) => belongs(each, shelf) && matches(each)).map(keyed).sort(byUrgency);
    return { shown: found.slice(0, MAX_ROWS).map(({ shipment }) => shipment), more: this.shelfMore || found.length > MAX_ROWS };
  }
}

function belongs({ status, exceptions }: Shipment, shelf: Shelf): boolean {
  if (shelf === 'under_way') return UNDER_WAY.includes(status);
  return shelf === 'all' || (OPEN.includes(status) && exceptions.length > 0);
}

interface Keyed {
  readonly shipment: Shipment;
  readonly over: number;
  readonly trouble: number;
  readonly due_ms: number;
}

function keyed(shipment: Shipment): Keyed {
  const over = OPEN.includes(shipment.status) ? 0 : 1;
  const trouble = TROUBLES.findIndex((each) => shipment.exceptions.includes(each));
  const { estimated = null, planned = null } = nextStop(shipment)?.arrive ?? {};
  const due_ms = over ? -Date.parse(shipment.since) : Date.parse(estimated ?? planned ?? '9999-12-31T00:00:00Z');
  return { shipment, over, trouble: over || trouble < 0 ? TROUBLES.length : trouble, due_ms };
}

// What is over comes last, the latest first; of the rest the worst, then what is due first.
function byUrgency(a: Keyed, b: Keyed): number {
  return a.over - b.over || a.trouble - b.trouble || a.due_ms - b.due_ms || (a.shipment.id < b.shipment.id ? -1 : 1);
}
