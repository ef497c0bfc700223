import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fleet, liveState, placeAt, STALE_AFTER_MS, type Now } from '../src/fleet.ts';
import { toLonLat } from '../src/geo.ts';
import type { Position, WaymarkEvent } from '../src/model.ts';

const T0 = Date.parse('2026-03-08T12:00:00Z');

const at = (s: number): Now => ({ page_s: 100 + s, wall_ms: T0 + s * 1000 });

function fix(s: number, lon: number, lat = 0, more: Partial<Position> = {}): Position {
  const time = new Date(T0 + s * 1000).toISOString();
  return {
    device: 'van', fix_time: time, received_at: time, lon, lat, alt_m: null, speed_mps: null, course_deg: null,
    accuracy_m: null, battery: null, quality: 'ok', h3: null, attrs: null, ...more,
  };
}

function event(type: string, s: number, more: Partial<WaymarkEvent> = {}): WaymarkEvent {
  const time = new Date(T0 + s * 1000).toISOString();
  return {
    id: type + s, type, subject: 'van', time, data: {}, recorded_at: time, revision: 1, status: 'active', late: false,
    cursor: 1, ...more,
  };
}

function lonAt(fleet: Fleet, s: number): number {
  return toLonLat(placeAt(fleet.device('van'), at(s).page_s))[0];
}

test('a device glides to a live fix and is half way there at half time', () => {
  const fleet = new Fleet();
  fleet.place(fix(0, 0), at(0), false);
  fleet.place(fix(4, 0.001), at(4), true);
  assert.equal(lonAt(fleet, 4), 0);
  assert.ok(Math.abs(lonAt(fleet, 6) - 0.0005) < 1e-9);
  assert.ok(Math.abs(lonAt(fleet, 8) - 0.001) < 1e-9);
  assert.ok(Math.abs(lonAt(fleet, 99) - 0.001) < 1e-9);
});

test('a fix that comes while the device glides starts from where it is seen', () => {
  const fleet = new Fleet();
  fleet.place(fix(0, 0), at(0), false);
  fleet.place(fix(4, 0.001), at(4), true);
  const seen = lonAt(fleet, 6);
  fleet.place(fix(6, 0.002), at(6), true);
  assert.equal(lonAt(fleet, 6), seen);
});

test('the newest fix time wins whatever the order of arrival', () => {
  const fleet = new Fleet();
  assert.equal(fleet.place(fix(10, 1), at(11), true), true);
  assert.equal(fleet.place(fix(5, 2), at(12), true), false);
  assert.equal(fleet.place(fix(10, 3), at(13), true), false);
  assert.equal(fleet.device('van').position?.lon, 1);
});

test('a fix that is not ok is noted but moves nothing', () => {
  const fleet = new Fleet();
  fleet.place(fix(0, 1), at(0), true);
  assert.equal(fleet.place(fix(1, 0, 0, { quality: 'null_island' }), at(1), true), false);
  assert.equal(fleet.device('van').position?.lon, 1);
  assert.equal(fleet.device('van').quality, 'null_island');
});

test('a jump, a long silence and the antimeridian are not glided over', () => {
  for (const [from, to, gap_s] of [[0, 1, 4], [0, 0.001, 700], [179.999, -179.999, 4]] as const) {
    const fleet = new Fleet();
    fleet.place(fix(0, from), at(0), false);
    fleet.place(fix(gap_s, to), at(gap_s), true);
    assert.ok(Math.abs(lonAt(fleet, gap_s) - to) < 1e-9, `${from} to ${to} after ${gap_s} s`);
  }
});

test('without a course the device points where it went, but not after a step of a few metres', () => {
  const fleet = new Fleet();
  fleet.place(fix(0, 0), at(0), false);
  fleet.place(fix(1, 0.001), at(1), true);
  assert.equal(Math.round(fleet.device('van').to_course_deg), 90);
  fleet.place(fix(2, 0.00097), at(2), true);
  assert.equal(Math.round(fleet.device('van').to_course_deg), 90);
});

test('a turn goes the short way round', () => {
  const fleet = new Fleet();
  fleet.place(fix(0, 0, 0, { course_deg: 350 }), at(0), false);
  fleet.place(fix(1, 0.001, 0, { course_deg: 10 }), at(1), true);
  assert.equal(fleet.device('van').to_course_deg, 370);
});

test('a device moves if its speed or the server says so', () => {
  const fleet = new Fleet();
  fleet.place(fix(0, 0, 0, { speed_mps: 9 }), at(0), true);
  assert.equal(liveState(fleet.device('van'), T0), 'moving');
  fleet.place(fix(1, 0, 0, { speed_mps: 0 }), at(1), true);
  assert.equal(liveState(fleet.device('van'), T0), 'stopped');
  fleet.hear(event('motion.started', 2));
  fleet.place(fix(3, 0, 0, { speed_mps: 0 }), at(3), true);
  assert.equal(liveState(fleet.device('van'), T0 + 3000), 'moving');
  fleet.hear(event('motion.stopped', 4));
  assert.equal(liveState(fleet.device('van'), T0 + 4000), 'stopped');
  fleet.place(fix(14, 0.001), at(14), true);
  assert.equal(liveState(fleet.device('van'), T0 + 14_000), 'moving');
});

test('an event overrides what the device list said, though it is dated earlier', () => {
  const fleet = new Fleet();
  fleet.describe({ name: 'van', motion: 'stopped', position: fix(10, 0) }, at(10));
  fleet.hear(event('motion.started', 5));
  assert.equal(liveState(fleet.device('van'), T0 + 11_000), 'moving');
  fleet.describe({ name: 'van', motion: 'stopped' }, at(12));
  assert.equal(liveState(fleet.device('van'), T0 + 12_000), 'moving');
});

test('older news of motion does not undo newer, nor does a withdrawn event', () => {
  const fleet = new Fleet();
  fleet.place(fix(0, 0), at(0), true);
  fleet.hear(event('motion.started', 10));
  fleet.hear(event('motion.stopped', 5));
  fleet.hear(event('motion.stopped', 20, { status: 'retracted' }));
  assert.equal(fleet.device('van').motion, 'moving');
});

test('a device goes stale by silence, offline by word, and comes back with its next fix', () => {
  const fleet = new Fleet();
  fleet.place(fix(0, 0), at(0), true);
  assert.equal(liveState(fleet.device('van'), T0 + STALE_AFTER_MS + 1), 'stale');
  fleet.hear(event('device.offline', 60));
  assert.equal(liveState(fleet.device('van'), T0 + 61_000), 'offline');
  fleet.place(fix(70, 0), at(70), true);
  assert.equal(liveState(fleet.device('van'), T0 + 71_000), 'stopped');
});

test('a server clock ahead of ours does not make a device fresher than now', () => {
  const fleet = new Fleet();
  fleet.place(fix(3600, 0), at(0), false);
  assert.equal(fleet.device('van').heard_ms, T0);
});

test('devices without a place are known but not counted', () => {
  const fleet = new Fleet();
  fleet.describe({ name: 'reader', online: true }, at(0));
  fleet.place(fix(0, 0, 0, { speed_mps: 5 }), at(0), true);
  assert.equal(fleet.devices.size, 2);
  assert.deepEqual(fleet.counts(T0), { moving: 1, stopped: 0, stale: 0, offline: 0 });
});

test('spacing is about the distance between neighbours, and infinite for one device', () => {
  const fleet = new Fleet();
  fleet.place(fix(0, 0, 0, { device: 'only' }), at(0), false);
  assert.equal(fleet.spacing(), Infinity);
  for (let i = 0; i < 400; i += 1) {
    fleet.place(fix(0, (i % 20) * 0.01, Math.floor(i / 20) * 0.01, { device: `d${i}` }), at(0), false);
  }
  assert.ok(Math.abs(fleet.spacing() * 360 - 0.01) < 0.001);
});
