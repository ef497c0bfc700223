/** What the API sends about shipments, as far as the map reads it. As in `model.ts`. */

import type { LonLat, Position } from './model.ts';

export type ShipmentStatus = 'planned' | 'at_stop' | 'picked_up' | 'in_transit' | 'arriving' | 'delivered' | 'cancelled';

/** What goes wrong, the worst first. */
export const TROUBLES = ['overdue', 'off_route', 'opposite_direction', 'stalled', 'not_departed', 'delayed', 'at_risk'] as const;
export type Trouble = (typeof TROUBLES)[number];

/** Those that somebody has on the way. */
export const UNDER_WAY: readonly ShipmentStatus[] = ['at_stop', 'picked_up', 'in_transit', 'arriving'];
/** Those that may yet come to something: nobody can help what is delivered or called off. */
export const OPEN: readonly ShipmentStatus[] = ['planned', ...UNDER_WAY];

interface Times {
  readonly planned: string | null;
  readonly estimated: string | null;
  readonly actual: string | null;
}

/** A stop as lists tell it. Its time zone is that of its window, `UTC` where it has none. */
export interface Stop {
  readonly kind: 'pickup' | 'delivery' | 'via';
  readonly name: string;
  readonly time_zone: string;
  readonly arrive: Times;
  readonly depart: Times;
  readonly planned_until: string | null;
  readonly done: boolean;
  readonly delayed: boolean;
}

export interface StopDetail extends Stop {
  readonly place: Readonly<{ lon: number; lat: number; radius_m: number; address?: string | null }> | null;
  readonly fence: string | null;
}

/** When a stop will be reached: between `early` and `late` in eight of ten cases. */
export interface StopEta {
  readonly stop: number;
  readonly arrive: string;
  readonly early: string;
  readonly late: string;
}

export interface Eta {
  readonly state: 'expected' | 'last_seen' | 'unknown' | 'over';
  readonly as_of: string | null;
  readonly stops: readonly StopEta[];
  readonly at_risk: readonly number[];
}

export interface Shipment {
  readonly id: string;
  readonly order_ref: string | null;
  readonly status: ShipmentStatus;
  readonly since: string;
  readonly exceptions: readonly Trouble[];
  readonly at_stop: number | null;
  readonly next_stop: number | null;
  readonly stops: readonly Stop[];
  readonly eta: Eta;
}

/** Where along its planned way it is, metres; null before it is picked up. */
export interface RouteState {
  readonly length_m: number;
  readonly progress_m: number | null;
  readonly offset_m: number | null;
  readonly off_route: boolean;
}

/** Where it was last seen and by what; `carried_by` is who has it now, `via` the carriers between. */
export interface LastSeen {
  readonly position: Position | null;
  readonly stale: boolean;
  readonly carried_by: Readonly<{ device: string | null; via: readonly string[] }> | null;
}

export interface ShipmentDetail extends Shipment {
  readonly version: number;
  readonly stops: readonly StopDetail[];
  readonly route: RouteState | null;
  readonly eta: Eta & Readonly<{ told_at: string | null; because: string | null; remaining_m: number | null }>;
  readonly last_seen: LastSeen;
}

/** The line of a planned way; `version` is that of the plan. */
export interface PlannedLine {
  readonly version: number;
  readonly route: Readonly<{ line: Readonly<{ coordinates: readonly LonLat[] }> }> | null;
}
