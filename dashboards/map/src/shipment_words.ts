/** Shipments as a person reads them: status, trouble, and times in the zone of whoever waits. Pure. */

import type { Eta, LastSeen, Shipment, ShipmentDetail, ShipmentStatus, Stop, StopEta, Trouble } from './shipment_model.ts';
import { ageText, distanceText } from './wording.ts';

export const STATUS_NAMES: Readonly<Record<ShipmentStatus, string>> = {
  planned: 'Planned', at_stop: 'At a stop', picked_up: 'Picked up', in_transit: 'In transit', arriving: 'Arriving',
  delivered: 'Delivered', cancelled: 'Cancelled',
};

/** What is wrong, and how bad that is. */
export const TROUBLE_NAMES: Readonly<Record<Trouble, readonly [string, 'warn' | 'bad']>> = {
  overdue: ['Overdue', 'bad'], off_route: ['Off route', 'bad'], opposite_direction: ['Wrong way', 'bad'],
  stalled: ['Standing still', 'warn'], not_departed: ['Not departed', 'warn'], delayed: ['Late', 'warn'], at_risk: ['At risk', 'warn'],
};

export const KIND_NAMES: Readonly<Record<Stop['kind'], string>> = { pickup: 'Pickup', delivery: 'Delivery', via: 'Via' };

// A range that ends so soon is none any more.
const ANY_MINUTE_MS = 120_000;

/** How the person who looks reads times. Tests give their own; `zone` and `locale` are the browser's where left out. */
export interface Reader {
  readonly now_ms: number;
  readonly zone?: string;
  readonly locale?: string;
}

/** The zone in which people at a stop think; none where the plan does not say. */
export function zoneOf(stop: Stop): string | undefined {
  return stop.arrive.planned !== null || stop.planned_until !== null ? stop.time_zone : undefined;
}

// Making one takes longer than using it a hundred times, and a list has hundreds of times each second.
const formats = new Map<string, Intl.DateTimeFormat>();

function format(zone: string | undefined, options: Intl.DateTimeFormatOptions, locale?: string): Intl.DateTimeFormat {
  const key = JSON.stringify([zone, locale, options]);
  const made = formats.get(key) ?? new Intl.DateTimeFormat(locale, { ...options, ...(zone === undefined ? {} : { timeZone: zone }) });
  formats.set(key, made);
  return made;
}

function dayOf(ms: number, zone: string | undefined): string {
  return format(zone, { year: 'numeric', month: 'numeric', day: 'numeric' }, 'en-CA').format(ms);
}

/** `14:10 - 14:25`, with the day where it is not today; where another clock than the reader's is meant, it says whose. */
export function rangeText(from: string, until: string, zone: string | undefined, reader: Reader): string {
  const [start, end] = [Date.parse(from), Date.parse(until)];
  const where = zone ?? reader.zone;
  const today = [start, end].every((ms) => dayOf(ms, where) === dayOf(reader.now_ms, where));
  const near = Math.abs(start - reader.now_ms) < 6 * 86_400_000;
  const day: Intl.DateTimeFormatOptions = today ? {} : near ? { weekday: 'short' } : { day: 'numeric', month: 'short' };
  const text = format(where, { ...day, hour: '2-digit', minute: '2-digit' }, reader.locale).formatRange(start, Math.max(start, end));
  return zone !== undefined && !sameClock(start, zone, reader.zone) ? `${text} ${zoneName(zone)}` : text;
}

export function clockText(at: string, zone: string | undefined, reader: Reader): string {
  return rangeText(at, at, zone, reader);
}

function sameClock(ms: number, zone: string, other: string | undefined): boolean {
  const clock = (of: string | undefined): string => format(of, { day: 'numeric', hour: 'numeric', minute: 'numeric' }, 'en-CA').format(ms);
  return clock(zone) === clock(other);
}

/** `Europe/Amsterdam` as `Amsterdam`. */
function zoneName(zone: string): string {
  return (zone.split('/').at(-1) ?? zone).replaceAll('_', ' ');
}

/** On whose clock to tell the times of these stops, so that no place is named at each, and a sentence that says so. */
export function clockOf(stops: readonly Stop[], reader: Reader): { reader: Reader; note: string } {
  const [zone, another] = new Set(stops.map(zoneOf).filter((each) => each !== undefined));
  if (zone !== undefined && another === undefined) {
    const now = new Date(reader.now_ms).toISOString();
    const there = { ...reader, zone };
    const differs = sameClock(reader.now_ms, zone, reader.zone) ? '' : `, where it is ${clockText(now, zone, there)} now`;
    return { reader: there, note: `Times are those of ${zone}${differs}.` };
  }
  const yours = reader.zone ?? new Intl.DateTimeFormat().resolvedOptions().timeZone;
  return { reader, note: `Times are yours (${yours})${another === undefined ? '' : ', except where another place is named'}.` };
}

/** The stop it is at or on its way to. */
export function nextStop(shipment: Shipment): Stop | null {
  return shipment.stops[shipment.at_stop ?? shipment.next_stop ?? -1] ?? null;
}

export function etaOf(eta: Eta, stop: number): StopEta | null {
  return eta.stops.find((each) => each.stop === stop) ?? null;
}

/** Where it is going, or is: `to Shop 4`. */
export function towards(shipment: Shipment): string {
  const stop = nextStop(shipment);
  if (stop === null || shipment.status === 'cancelled') return '';
  return shipment.at_stop === null ? `to ${stop.name}` : `at ${stop.name}`;
}

/** What it does: `In transit to Shop 4`. */
export function statusText(shipment: Shipment): string {
  const { status, at_stop } = shipment;
  const going = towards(shipment);
  if (going === '') return STATUS_NAMES[status];
  if (at_stop !== null) return going.replace(/^a/, 'A');
  return status === 'arriving' ? `Arriving ${going.replace(/^to/, 'at')}` : `${STATUS_NAMES[status]} ${going}`;
}

/** When it will be at its next stop, in a few words, or why nobody can say. */
export function expectation(shipment: Shipment, reader: Reader): string {
  const { eta, status, at_stop } = shipment;
  if (status === 'delivered' || status === 'cancelled') return clockText(shipment.since, undefined, reader);
  if (eta.state === 'last_seen' && eta.as_of !== null) return `last seen ${ageText(reader.now_ms - Date.parse(eta.as_of))}`;
  const stop = nextStop(shipment);
  if (stop === null) return '';
  const zone = zoneOf(stop);
  if (at_stop !== null) return stop.depart.estimated === null ? '' : `leaves ${clockText(stop.depart.estimated, zone, reader)}`;
  const told = etaOf(eta, shipment.next_stop ?? -1);
  if (told === null) return windowText(stop, reader, 'planned ');
  return Date.parse(told.late) - reader.now_ms < ANY_MINUTE_MS ? 'any minute' : rangeText(told.early, told.late, zone, reader);
}

/** The planned window of a stop. */
export function windowText(stop: Stop, reader: Reader, before = ''): string {
  const { planned } = stop.arrive;
  const zone = zoneOf(stop);
  if (planned !== null && stop.planned_until !== null) return before + rangeText(planned, stop.planned_until, zone, reader);
  if (stop.planned_until !== null) return `${before}until ${clockText(stop.planned_until, zone, reader)}`;
  return planned === null ? '' : `${before}from ${clockText(planned, zone, reader)}`;
}

/** What became of a stop; empty while nothing has. */
export function actualText(stop: Stop, reader: Reader): string {
  const zone = zoneOf(stop);
  const { actual: came } = stop.arrive;
  const { actual: left } = stop.depart;
  const leaving = left === null ? '' : `left ${clockText(left, zone, reader)}`;
  return came === null ? leaving : [`arrived ${clockText(came, zone, reader)}`, leaving].filter(Boolean).join(', ');
}

/** How sure it is, behind the range. */
export function certainty(told: StopEta, zone: string | undefined, reader: Reader): string {
  return `Most likely ${clockText(told.arrive, zone, reader)}. 8 of 10 come within this time.`;
}

/** Why no time is told. */
export function whyUnknown(shipment: Shipment, seen: LastSeen): string {
  if (shipment.eta.state === 'last_seen') return 'Nothing was heard for so long that no time can be told.';
  if (shipment.eta.state !== 'unknown') return '';
  return seen.carried_by?.device == null ? 'No time can be told: nobody carries it.' : 'No time can be told yet.';
}

/** `21.4 of 34.8 km`, and how far beside its route it is where it has left that. */
export function wayText({ route, eta }: ShipmentDetail): string {
  if (route !== null && route.progress_m !== null) {
    const along = `${distanceText(route.progress_m)} of ${distanceText(route.length_m)} along its route`;
    return route.off_route ? `${along}, ${distanceText(route.offset_m)} beside it` : along;
  }
  return eta.remaining_m === null ? '' : `${distanceText(eta.remaining_m)} to its next stop`;
}
