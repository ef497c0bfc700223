import assert from 'node:assert/strict';
import { test } from 'node:test';
import { graticule, graticuleStepDeg, toLonLat, toMercator } from '../src/geo.ts';
import type { WaymarkEvent } from '../src/model.ts';
import { ageText, courseText, distanceText, sentence, speedText } from '../src/wording.ts';

const told = (type: string, data: Record<string, unknown> = {}): string => {
  const { subject, rest } = sentence({ type, subject: 'van-7', data } as unknown as WaymarkEvent);
  return `${subject} ${rest}`;
};

test('events read as sentences', () => {
  assert.equal(told('fence.entered', { fence_name: 'Depot' }), 'van-7 entered Depot');
  assert.equal(told('fence.exited', { fence: { name: 'Depot' }, inside_s: 3700 }), 'van-7 left Depot after 1 h 1 min');
  assert.equal(told('trip.ended', { distance_m: 8420, duration_s: 1260 }), 'van-7 ended a trip: 8.4 km in 21 min');
  assert.equal(told('speed.exceeded', { speed_mps: 27, limit_mps: 22.2 }), 'van-7 drove 97 km/h where 80 km/h is allowed');
  assert.equal(told('device.low_battery', { battery: 0.12 }), 'van-7 is low on battery: 12 %');
  assert.equal(
    told('shipment.eta_changed', { stop_name: 'Shop 4', because: '6 min later: it has left its route' }),
    'van-7 has another arrival at Shop 4: 6 min later: it has left its route',
  );
  assert.equal(told('shipment.at_risk', { stop: 1, stop_name: 'Shop 4' }), 'van-7 will probably be late for Shop 4');
  assert.equal(told('some.new_thing'), 'van-7 some: new thing');
});

test('numbers have units, and unknown ones a dash', () => {
  assert.deepEqual([0, 12.5, null].map(speedText), ['0 km/h', '45 km/h', '–']);
  assert.deepEqual([0, 359.8, 225, null].map(courseText), ['0° N', '0° N', '225° SW', '–']);
  assert.deepEqual([999, 18_450, 250_400].map(distanceText), ['999 m', '18.4 km', '250 km']);
  assert.deepEqual([-5, 59_000, 61_000, 7_260_000, 90_000_000].map(ageText), [
    'now', '59 s ago', '1 min ago', '2 h 1 min ago', '1 day ago',
  ]);
});

test('mercator there and back', () => {
  for (const [lon, lat] of [[0, 0], [13.4, 52.5], [-179.9, -80], [151, 85]] as const) {
    const back = toLonLat(toMercator(lon, lat));
    assert.ok(Math.abs(back[0] - lon) < 1e-9 && Math.abs(back[1] - lat) < 1e-9);
  }
});

test('the graticule has a handful of lines at every scale', () => {
  for (const span of [0.004, 0.05, 1, 40, 360]) {
    const lines = graticule(-span / 2, -span / 4, span / 2, span / 4).filter((line) => line.kind === 'meridian');
    assert.ok(lines.length >= 5 && lines.length <= 16, `${lines.length} lines over ${span}°`);
  }
  assert.equal(graticuleStepDeg(0.06), 0.01);
  assert.ok(graticule(-0.03, 51.4, 0.03, 51.5).some((line) => line.label === '0.00°'));
});
