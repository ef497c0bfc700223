/** What is known of each device. Pure: no DOM, no socket, and time comes in as an argument. */

import { courseDeg, distanceM, nearestTurnDeg, toMercator, type Place } from './geo.ts';
import type { DeviceSummary, LiveState, Position, WaymarkEvent } from './model.ts';

// Silent for longer than the slowest common reporting interval (4 min on city buses).
export const STALE_AFTER_MS = 5 * 60_000;
// A fix a second or less apart must not stutter, one minutes apart must not crawl.
const GLIDE_MIN_S = 0.3;
const GLIDE_MAX_S = 10;
// Past this a straight glide would tell of a road that was not driven.
const GLIDE_MAX_GAP_S = 600;
const GLIDE_MAX_M = 5_000;
// Without a course from the device, shorter steps are receiver noise.
const COURSE_MIN_M = 8;
// Above what receivers report of a parked vehicle.
const MOVING_MPS = 1.5;

/** One device on the map. It glides from `from` at `start_s` to `to` at `end_s` on the page's own clock. */
export interface Device {
  readonly name: string;
  /** Position in the drawing buffers: dense, given once. */
  readonly slot: number;
  position: Position | null;
  from: Place;
  to: Place;
  from_course_deg: number;
  to_course_deg: number;
  start_s: number;
  end_s: number;
  /** When a fix last came in, on this machine's wall clock. */
  heard_ms: number;
  quality: string;
  /** By its latest fix alone. */
  speed_mps: number;
  /** As the server concludes from many fixes: it is sure late, and calls a halt at a light moving. */
  motion: 'moving' | 'stopped' | 'unknown';
  motion_ms: number;
  online: boolean | null;
  online_ms: number;
  odometer_m: number | null;
}

/** The two clocks of a moment: `page_s` monotonic, for movement; `wall_ms` Unix, for ages. */
export interface Now {
  readonly page_s: number;
  readonly wall_ms: number;
}

const NOWHERE: Place = { x: 0, y: 0 };

export class Fleet {
  readonly devices = new Map<string, Device>();

  /** Without `glides`, markers jump: for people who asked their system for less motion. */
  constructor(private readonly glides = true) {}

  /** The device of that name, made known when it is new. */
  device(name: string): Device {
    let device = this.devices.get(name);
    if (device === undefined) {
      device = {
        name, slot: this.devices.size, position: null, from: NOWHERE, to: NOWHERE, from_course_deg: 0,
        to_course_deg: 0, start_s: 0, end_s: 0, heard_ms: 0, quality: '', speed_mps: 0, motion: 'unknown', motion_ms: 0,
        online: null, online_ms: 0, odometer_m: null,
      };
      this.devices.set(name, device);
    }
    return device;
  }

  /**
   * Take in a position; answers whether the device's place changed.
   *
   * The newest `fix_time` wins whatever the order of arrival, and only fixes of quality `ok` move a
   * device. A snapshot is placed at once and its age is taken from the server; a live one glides.
   */
  place(position: Position, now: Now, live: boolean): boolean {
    const device = this.device(position.device);
    const gap_s = device.heard_ms === 0 ? Infinity : (now.wall_ms - device.heard_ms) / 1000;
    const received_ms = live ? now.wall_ms : Math.min(Date.parse(position.received_at), now.wall_ms);
    device.heard_ms = Math.max(device.heard_ms, received_ms);
    const last = device.position;
    const fix_ms = Date.parse(position.fix_time);
    if (last !== null && fix_ms <= Date.parse(last.fix_time)) return false;
    device.quality = position.quality;
    if (position.quality !== 'ok') return false;
    device.position = position;
    this.move(device, last, position, now, live ? gap_s : Infinity);
    return true;
  }

  private move(device: Device, last: Position | null, next: Position, now: Now, gap_s: number): void {
    const to = toMercator(next.lon, next.lat);
    const shown = last === null ? to : placeAt(device, now.page_s);
    const step_m = last === null ? 0 : distanceM(last.lon, last.lat, next.lon, next.lat);
    const jumps = !this.glides || last === null || gap_s > GLIDE_MAX_GAP_S || step_m > GLIDE_MAX_M || Math.abs(to.x - shown.x) > 0.5;
    const course = next.course_deg ?? (step_m >= COURSE_MIN_M ? courseDeg(device.to, to) : device.to_course_deg);
    const shown_course = last === null ? course : courseAt(device, now.page_s);
    device.from = jumps ? to : shown;
    device.to = to;
    device.from_course_deg = shown_course;
    device.to_course_deg = nearestTurnDeg(course, shown_course);
    device.start_s = now.page_s;
    device.end_s = now.page_s + (jumps ? 0 : Math.max(GLIDE_MIN_S, Math.min(GLIDE_MAX_S, gap_s)));
    device.speed_mps = next.speed_mps ?? speedMps(last, next, step_m);
  }

  /** Learn what an event says of its device's motion or connection. Older news than what is known is ignored. */
  hear(event: WaymarkEvent): void {
    if (event.status !== 'active') return;
    const at_ms = Date.parse(event.time);
    const device = this.devices.get(event.subject);
    if (device === undefined) return;
    if (event.type === 'motion.started' || event.type === 'motion.stopped') {
      if (at_ms < device.motion_ms) return;
      device.motion = event.type === 'motion.started' ? 'moving' : 'stopped';
      device.motion_ms = at_ms;
    } else if (event.type === 'device.online' || event.type === 'device.offline') {
      if (at_ms < device.online_ms) return;
      device.online = event.type === 'device.online';
      device.online_ms = at_ms;
    }
  }

  /** Take in what the device list says; it never overrides newer news from the feed. */
  describe(summary: DeviceSummary, now: Now): void {
    const device = this.device(summary.name);
    if (summary.position) this.place(summary.position, now, false);
    if (summary.odometer_m != null) device.odometer_m = summary.odometer_m;
    const heard_ms = summary.heard_at ? Date.parse(summary.heard_at) : 0;
    device.heard_ms = Math.max(device.heard_ms, Math.min(heard_ms, now.wall_ms));
    if (device.motion_ms === 0 && (summary.motion === 'moving' || summary.motion === 'stopped')) {
      device.motion = summary.motion;
    }
    const online_ms = summary.online_at ? Date.parse(summary.online_at) : 0;
    if (summary.online != null && online_ms >= device.online_ms) {
      device.online = summary.online;
      device.online_ms = online_ms;
    }
  }

  /** The distance between neighbours, in mercator units, were the fleet spread evenly; infinite for fewer than two. */
  spacing(): number {
    let n = 0, sx = 0, sy = 0, sxx = 0, syy = 0;
    for (const { position, to } of this.devices.values()) {
      if (position === null) continue;
      n += 1;
      sx += to.x;
      sy += to.y;
      sxx += to.x * to.x;
      syy += to.y * to.y;
    }
    if (n < 2) return Infinity;
    const variance = (s: number, ss: number): number => Math.max(0, ss / n - (s / n) ** 2);
    // An even spread over a width w has the variance w²/12.
    return Math.sqrt((12 * Math.sqrt(variance(sx, sxx) * variance(sy, syy))) / n);
  }

  /** How many of those that have a place are in each state. */
  counts(wall_ms: number): Record<LiveState, number> {
    const counts = { moving: 0, stopped: 0, stale: 0, offline: 0 };
    for (const device of this.devices.values()) {
      if (device.position !== null) counts[liveState(device, wall_ms)] += 1;
    }
    return counts;
  }
}

/** Offline is what the device or the broker said; stale is only our own waiting. */
export function liveState(device: Device, wall_ms: number): LiveState {
  if (device.online === false && device.heard_ms <= device.online_ms) return 'offline';
  if (wall_ms - device.heard_ms > STALE_AFTER_MS) return 'stale';
  return device.motion === 'moving' || device.speed_mps >= MOVING_MPS ? 'moving' : 'stopped';
}

function speedMps(last: Position | null, next: Position, step_m: number): number {
  const taken_s = last === null ? 0 : (Date.parse(next.fix_time) - Date.parse(last.fix_time)) / 1000;
  return taken_s > 0 ? step_m / taken_s : 0;
}

/** How far along its glide a device is, 0 to 1. The vertex shader computes the same. */
export function progress(device: Device, page_s: number): number {
  if (device.end_s <= device.start_s) return 1;
  return Math.max(0, Math.min(1, (page_s - device.start_s) / (device.end_s - device.start_s)));
}

export function placeAt(device: Device, page_s: number): Place {
  const t = progress(device, page_s);
  return { x: device.from.x + (device.to.x - device.from.x) * t, y: device.from.y + (device.to.y - device.from.y) * t };
}

function courseAt(device: Device, page_s: number): number {
  // A turn is over in the first third of the way, as a driver's is.
  const t = Math.min(1, progress(device, page_s) * 3);
  return device.from_course_deg + (device.to_course_deg - device.from_course_deg) * t;
}
