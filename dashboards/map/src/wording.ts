/** Numbers and events as a person reads them. Pure, and English only for now. */

import type { Alert, FenceShape, LiveState, WaymarkEvent } from './model.ts';

export const STATE_NAMES: Readonly<Record<LiveState, string>> = {
  moving: 'Moving', stopped: 'Stopped', stale: 'Stale', offline: 'Offline',
};

export function ageText(age_ms: number): string {
  const s = Math.max(0, Math.round(age_ms / 1000));
  if (s < 2) return 'now';
  if (s < 60) return `${s} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min ago`;
  const days = Math.floor(s / 86_400);
  return days === 1 ? '1 day ago' : `${days} days ago`;
}

export function durationText(seconds: number): string {
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

export function speedText(mps: number | null | undefined): string {
  return mps == null ? '–' : `${Math.round(mps * 3.6)} km/h`;
}

const WINDS = ['N', 'NE', 'E', 'SE', 'S', 'SW', 'W', 'NW'] as const;

export function courseText(deg: number | null | undefined): string {
  if (deg == null) return '–';
  const whole = Math.round(deg) % 360;
  return `${whole}° ${WINDS[Math.round(whole / 45) % 8]}`;
}

export function distanceText(m: number | null | undefined): string {
  if (m == null) return '–';
  if (m < 1000) return `${Math.round(m)} m`;
  return m < 100_000 ? `${(m / 1000).toFixed(1)} km` : `${Math.round(m / 1000)} km`;
}

export function batteryText(share: number | null | undefined): string {
  return share == null ? '–' : `${Math.round(share * 100)} %`;
}

export function dwellText(seconds: number): string {
  return `told after ${durationText(seconds)}`;
}

/** What a fence's shape is, in a few words. */
export function groundText(shape: FenceShape): string {
  switch (shape.type) {
    case 'Circle': return `circle, radius ${distanceText(shape.radius_m)}`;
    case 'Corridor': return `corridor, ${distanceText(shape.width_m)} wide`;
    case 'Cells': return shape.cells.length === 1 ? '1 cell' : `${shape.cells.length.toLocaleString('en')} cells`;
    case 'Polygon': return shape.coordinates.length > 1 ? 'polygon with holes' : 'polygon';
    case 'MultiPolygon': return `${shape.coordinates.length} polygons`;
  }
}

/** `impossible_speed` as `impossible speed`. */
export function plain(name: string): string {
  return name.replaceAll('_', ' ');
}

/** The subject and what happened to it: shown as "**van-7** entered Depot North". */
export interface Sentence {
  readonly subject: string;
  readonly rest: string;
  readonly tone: 'info' | 'good' | 'warn' | 'bad';
}

type Data = Readonly<Record<string, unknown>>;

export function sentence(event: WaymarkEvent): Sentence {
  const telling = TELLINGS[event.type];
  // A shipment is known by its id; a device's name has no slash.
  const subject = event.subject.replace(/^shipment\//, '');
  if (telling === undefined) return { subject, rest: plain(event.type.replace('.', ': ')), tone: 'info' };
  const [tone, tell] = telling;
  return { subject, rest: tell(event.data), tone };
}

function named(data: Data, ...keys: string[]): string {
  for (const key of keys) {
    const value = data[key];
    if (typeof value === 'string' && value !== '') return value;
    if (typeof value === 'object' && value !== null && 'name' in value) return String(value.name);
  }
  return '';
}

function number(data: Data, ...keys: string[]): number | null {
  for (const key of keys) {
    const value = data[key];
    if (typeof value === 'number') return value;
  }
  return null;
}

const fence = (data: Data): string => named(data, 'fence_name', 'fence', 'zone', 'fence_id') || 'a fence';
const stop = (data: Data): string => named(data, 'stop_name', 'stop', 'place') || 'a stop';
const zone = (data: Data): string => named(data, 'zone', 'reader', 'antenna') || 'a reader';

function after(words: string, seconds: number | null): string {
  return seconds === null ? words : `${words} after ${durationText(seconds)}`;
}

function tripEnded(data: Data): string {
  const way = number(data, 'distance_m', 'odometer_m');
  const taken = number(data, 'duration_s');
  const parts = [way === null ? '' : distanceText(way), taken === null ? '' : durationText(taken)].filter(Boolean);
  return parts.length > 0 ? `ended a trip: ${parts.join(' in ')}` : 'ended a trip';
}

function speeding(data: Data): string {
  const speed = number(data, 'max_speed_mps', 'speed_mps');
  const limit = number(data, 'limit_mps', 'speed_limit_mps');
  const drove = speed === null ? 'drove too fast' : `drove ${speedText(speed)}`;
  return limit === null ? drove : `${drove} where ${speedText(limit)} is allowed`;
}

function sensor(data: Data): string {
  const metric = plain(named(data, 'metric', 'rule') || 'a sensor');
  const value = number(data, 'value');
  return value === null ? metric : `${metric} at ${value}`;
}

function lowBattery(data: Data): string {
  const share = number(data, 'battery');
  return share === null ? 'is low on battery' : `is low on battery: ${batteryText(share)}`;
}

function shipment(data: Data): string {
  const status = named(data, 'to', 'status');
  return status ? `is now ${plain(status)}` : 'changed status';
}

function newArrival(data: Data): string {
  const because = named(data, 'because');
  return because ? `has another arrival at ${stop(data)}: ${because}` : 'has a new estimated arrival';
}

function silent(data: Data): string {
  const silent_s = number(data, 'silent_s', 'age_s');
  return silent_s === null ? 'has gone silent' : `has been silent for ${durationText(silent_s)}`;
}

// What an alert is about, as that event itself would tell it, without its own numbers.
function cause(data: Data): string {
  const of = data['event'];
  const type = typeof of === 'object' && of !== null && 'type' in of ? String(of.type) : '';
  return TELLINGS[type]?.[1](data) ?? plain(type.replace('.', ': '));
}

function dwelled(data: Data): string {
  const stayed = number(data, 'dwell_s', 'inside_s');
  return stayed === null ? `has stayed in ${fence(data)}` : `has stayed in ${fence(data)} for ${durationText(stayed)}`;
}

function entered(data: Data): string {
  const words = data['initial'] === true ? `is in ${fence(data)}` : `entered ${fence(data)}`;
  return data['violation'] === true ? `${words}, where it should not be` : words;
}

function exited(data: Data): string {
  if (data['reason'] === 'deleted') return `was in ${fence(data)} when it was deleted`;
  const words = after(`left ${fence(data)}`, number(data, 'inside_s', 'duration_s'));
  return data['violation'] === true ? `${words}, where it should be` : words;
}

/** What an alert is about: shown behind its device's name. */
export function alertText(alert: Alert): string {
  return cause({ fence: alert.fence, ...alert.event.data, event: alert.event });
}

function alertTold(words: string): (data: Data) => string {
  return (data) => `${words}: ${cause(data)}`;
}

const TELLINGS: Readonly<Record<string, readonly [Sentence['tone'], (data: Data) => string]>> = {
  'fence.entered': ['good', entered],
  'fence.exited': ['info', exited],
  'fence.dwelled': ['warn', dwelled],
  'fence.crossed': ['info', (d) => `passed through ${fence(d)}`],
  'motion.started': ['info', (d) => after('set off', number(d, 'stopped_s'))],
  'motion.stopped': ['info', () => 'came to a stop'],
  'trip.started': ['info', () => 'began a trip'],
  'trip.ended': ['info', tripEnded],
  'speed.exceeded': ['bad', speeding],
  'route.deviated': ['warn', () => 'left its route'],
  'route.rejoined': ['good', () => 'is back on its route'],
  'route.reversed': ['warn', () => 'drives its route the wrong way round'],
  'route.resumed': ['good', () => 'drives along its route again'],
  'device.online': ['good', () => 'came online'],
  'device.offline': ['bad', () => 'went offline'],
  'device.low_battery': ['warn', lowBattery],
  'device.silent': ['warn', silent],
  'sensor.breached': ['bad', (d) => `is out of range: ${sensor(d)}`],
  'sensor.cleared': ['good', (d) => `is back in range: ${sensor(d)}`],
  'tag.arrived': ['good', (d) => `arrived at ${zone(d)}`],
  'tag.departed': ['info', (d) => `departed from ${zone(d)}`],
  'tag.missing': ['warn', (d) => `is missing at ${zone(d)}`],
  'shipment.status_changed': ['info', shipment],
  'shipment.eta_changed': ['info', newArrival],
  'shipment.at_risk': ['warn', (d) => `will probably be late for ${stop(d)}`],
  'shipment.safe': ['good', (d) => `is in time for ${stop(d)} after all`],
  'shipment.replanned': ['info', () => 'was planned anew'],
  'shipment.delayed': ['warn', () => 'is delayed'],
  'shipment.overdue': ['bad', (d) => `is overdue at ${stop(d)}`],
  'shipment.not_departed': ['warn', (d) => `has not left ${stop(d)}`],
  'shipment.stalled': ['warn', () => 'stands still'],
  'shipment.moving': ['good', () => 'moves again'],
  'stop.arrived': ['good', (d) => `arrived at ${stop(d)}`],
  'stop.unloaded': ['info', (d) => `unloaded for ${stop(d)}`],
  'stop.departed': ['info', (d) => `departed from ${stop(d)}`],
  'stop.detention_started': ['warn', (d) => `is detained at ${stop(d)}`],
  'alert.opened': ['bad', alertTold('raised an alert')],
  'alert.escalated': ['bad', alertTold('has an alert nobody took up')],
  'alert.reopened': ['warn', alertTold('has an alert open again')],
  'alert.acknowledged': ['info', alertTold('has an alert taken up')],
  'alert.snoozed': ['info', alertTold('has an alert snoozed')],
  'alert.resolved': ['good', alertTold('has an alert resolved')],
};
