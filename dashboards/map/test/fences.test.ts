import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { alertOf } from '../src/alert_event.ts';
import type { Api } from '../src/api.ts';
import { Draft } from '../src/draft.ts';
import { FenceBook, padded, siteOf } from '../src/fence_book.ts';
import { FenceLoader } from '../src/fence_loader.ts';
import { FenceNews } from '../src/fence_news.ts';
import { distanceM } from '../src/geo.ts';
import { boxOf, circle, Ground, middleOf, polygonsOf, type Outline } from '../src/ground.ts';
import type { Fence, FenceShape, LonLat, WaymarkEvent } from '../src/model.ts';
import { jsonLines } from '../src/ndjson.ts';

const square = (west: number, south: number, size = 1): LonLat[] =>
  [[west, south], [west + size, south], [west + size, south + size], [west, south + size], [west, south]];
const polygon = (west: number, south: number): Outline => ({ type: 'Polygon', coordinates: [square(west, south)] });
const fence = (id: string, version = 1): Fence => ({ id, name: id, version, shape: { type: 'Circle', center: [0, 0], radius_m: 1 } });
const site = (id: string, west: number, version = 1) => siteOf(fence(id, version), polygon(west, 0));

const event = (type: string, time: string, more: Partial<WaymarkEvent> = {}): WaymarkEvent => ({
  id: `${type} ${time}`, type, subject: 'van-1', time, data: { fence: 'depot' }, recorded_at: time, revision: 1,
  status: 'active', late: false, cursor: 1, ...more,
});

/** Square metres, in the plane of the middle. */
function areaM2(outline: Outline): number {
  const [, lat] = middleOf(outline);
  const [x, y] = [distanceM(0, lat, 0.001, lat) / 0.001, distanceM(0, lat, 0, lat + 0.001) / 0.001];
  const ring = (places: GeoJSON.Position[]): number => places.slice(1).reduce(
    (sum, to, i) => sum + ((places[i]![0]! * to[1]! - to[0]! * places[i]![1]!) / 2) * x * y, 0,
  );
  return polygonsOf(outline).flat().reduce((sum, places, i) => sum + (i === 0 ? Math.abs(ring(places)) : -Math.abs(ring(places))), 0);
}

test('a circle is as wide over ground in every direction', () => {
  for (const [lon, lat, radius] of [[4.9, 52.37, 300], [-70, -33, 50_000], [0, 0, 10], [12, 78, 5_000]] as const) {
    for (const [x, y] of circle([lon, lat], radius)) {
      assert.ok(Math.abs(distanceM(lon, lat, x, y) / radius - 1) < 0.006, `${radius} m at ${lat}`);
    }
  }
});

test('a circle runs on over the antimeridian, and closes over a pole', () => {
  const [west, , east] = boxOf({ type: 'Polygon', coordinates: [circle([179.99, 10], 5_000)] });
  assert.ok(west > 179 && east > 180 && east < 180.1);
  const polar = boxOf({ type: 'Polygon', coordinates: [circle([20, 89.9], 50_000)] });
  assert.ok(polar[2] - polar[0] > 359.9 && polar[3] === 90);
});

test('a corridor is a band with round ends, also where it bends, meets itself and climbs', async () => {
  const ground = new Ground();
  const of = async (coordinates: LonLat[] | LonLat[][], width_m: number): Promise<Outline> => {
    const shape: FenceShape = { type: 'Corridor', coordinates, width_m };
    await ground.ready([shape]);
    return ground.outline(shape);
  };
  const straight = await of([[4.9, 52.37], [4.92, 52.37]], 60);
  const length_m = distanceM(4.9, 52.37, 4.92, 52.37);
  assert.ok(Math.abs(areaM2(straight) / (length_m * 60 + Math.PI * 900) - 1) < 0.01);
  const ring = await of([[4.9, 52.37], [4.92, 52.37], [4.92, 52.38], [4.9, 52.38], [4.9, 52.37]], 60);
  assert.equal(ring.type === 'Polygon' && ring.coordinates.length, 2, 'a hole in the middle');
  const climbing = await of([[10, 40], [10, 60]], 2_000);
  assert.equal(climbing.type, 'Polygon');
  for (const lat of [41, 50, 59]) {
    const across = polygonsOf(climbing)[0]![0]!.map(([, y]) => Math.abs(y! - lat));
    const nearest = polygonsOf(climbing)[0]![0]![across.indexOf(Math.min(...across))]!;
    assert.ok(Math.abs(distanceM(10, nearest[1]!, nearest[0]!, nearest[1]!) / 1_000 - 1) < 0.02, `at ${lat}`);
  }
});

test('cells of several resolutions are outlined', async () => {
  const ground = new Ground();
  const shape: FenceShape = { type: 'Cells', cells: ['89196953073ffff', '8a196953062ffff'] };
  await ground.ready([shape]);
  assert.equal(polygonsOf(ground.outline(shape)).length, 2);
});

test('the middle is in the shape, however it bends', () => {
  const horseshoe: Outline = {
    type: 'Polygon', coordinates: [[[0, 0], [3, 0], [3, 3], [2, 3], [2, 1], [1, 1], [1, 3], [0, 3], [0, 0]]],
  };
  const [lon, lat] = middleOf(horseshoe);
  assert.equal(lat, 1.5);
  assert.ok((lon > 0 && lon < 1) || (lon > 2 && lon < 3));
});

test('the book asks for what it does not know, and forgets what is gone', () => {
  const book = new FenceBook();
  for (const each of [site('a', 0), site('b', 10)]) book.put(each);
  const box = padded([-1, -1, 3, 3]);
  assert.deepEqual(box, [-3, -3, 5, 5]);
  assert.ok(!book.knows([0, 0, 2, 2], 0));
  assert.deepEqual(book.settle(box, new Set(['b']), 0).drop, ['a']);
  assert.deepEqual([...book.sites.keys()], ['b']);
  assert.ok(book.knows([-2, -2, 4, 4], 1000));
  assert.ok(!book.knows([-2, -2, 6, 4], 1000));
  assert.ok(!book.knows([-2, -2, 4, 4], 3_600_000));
});

test('small moves ask for nothing, and a long one once the map stays', async () => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 0 });
  const asked: string[] = [];
  const api = {
    fences: async (box: readonly number[], cursor: string | null) => {
      asked.push(`${box.join()} ${cursor}`);
      return { items: [fence(`of ${box[0]} ${cursor}`)], next: cursor === null ? 'more' : null };
    },
  } as unknown as Api;
  const book = new FenceBook();
  const loader = new FenceLoader(api, book, new Ground(), () => {}, (ask) => ask());
  const lookAt = async (west: number, ms = 300): Promise<void> => {
    loader.look([west, 0, west + 2, 2]);
    mock.timers.tick(ms);
    for (let i = 0; i < 20; i += 1) await Promise.resolve();
  };
  await lookAt(10);
  assert.deepEqual(asked, ['9,-1,13,3 null', '9,-1,13,3 more']);
  assert.equal(book.sites.size, 2);
  await lookAt(10.9);
  assert.equal(asked.length, 2);
  await lookAt(20, 100);
  await lookAt(30, 100);
  assert.equal(asked.length, 2);
  await lookAt(40);
  assert.deepEqual(asked.slice(2), ['39,-1,43,3 null', '39,-1,43,3 more']);
  await lookAt(10);
  assert.equal(asked.length, 4);
  mock.timers.tick(3_600_000);
  await lookAt(10);
  assert.equal(asked.length, 6);
  mock.timers.reset();
});

test('an older version never replaces a later one', () => {
  const book = new FenceBook();
  assert.equal(book.put(site('a', 0, 2)).put.length, 1);
  assert.equal(book.put(site('a', 5, 1)).put.length, 0);
  assert.equal(book.sites.get('a')?.box[0], 0);
  const gone = siteOf({ ...fence('a', 3), deleted_at: '2026-01-01T00:00:00Z' }, polygon(0, 0));
  assert.deepEqual(book.put(gone).drop, ['a']);
});

test('who is inside follows visits and events in any order', () => {
  const inside = (news: FenceNews): string[] => [...news.stays('depot')].filter(([, stay]) => stay.inside).map(([device]) => device);
  const news = new FenceNews();
  news.hear(event('fence.exited', '2026-01-01T10:00:00Z', { subject: 'b', data: { fence: 'depot', entered_at: '2026-01-01T09:00:00Z' } }));
  news.seed('depot', [
    { device: 'a', entered_at: '2026-01-01T08:00:00Z', entered_event: 'x' },
    { device: 'b', entered_at: '2026-01-01T09:00:00Z', entered_event: 'y' },
  ]);
  assert.deepEqual(inside(news), ['a']);
  news.hear(event('fence.entered', '2026-01-01T09:00:00Z', { subject: 'b', late: true }));
  assert.deepEqual(inside(news), ['a']);
  const left = { subject: 'b', status: 'retracted', revision: 2, data: { fence: 'depot', entered_at: '2026-01-01T09:00:00Z' } } as const;
  news.hear(event('fence.exited', '2026-01-01T10:00:00Z', left));
  assert.deepEqual(inside(news).sort(), ['a', 'b']);
  news.hear(event('alert.opened', '2026-01-01T11:00:00Z'));
  assert.deepEqual(news.events('depot').map((each) => each.time.slice(11, 13)), ['10', '09']);
});

test('a draft gives back the shape it began as', () => {
  const shapes: FenceShape[] = [
    { type: 'Circle', center: [4.9, 52.37], radius_m: 300 },
    { type: 'Corridor', coordinates: [[0, 0], [1, 1]], width_m: 50 },
    { type: 'Corridor', coordinates: [[[0, 0], [1, 1]], [[2, 2], [3, 3]]], width_m: 50 },
    { type: 'Polygon', coordinates: [square(0, 0, 4), square(1, 1)] },
    { type: 'MultiPolygon', coordinates: [[square(0, 0, 4), square(1, 1)], [square(9, 9)]] },
  ];
  for (const shape of shapes) assert.deepEqual(Draft.of(shape)?.shape(), shape);
  assert.equal(Draft.of({ type: 'Cells', cells: ['89196953073ffff'] }), null);
});

test('a draft is not a shape before it has its points, and keeps as many as it needs', () => {
  const draft = new Draft('polygon');
  for (const at of [[0, 0], [1, 0]] as LonLat[]) draft.add(at);
  assert.equal(draft.shape(), null);
  draft.add([1, 1]);
  assert.deepEqual(draft.shape(), { type: 'Polygon', coordinates: [[[0, 0], [1, 0], [1, 1], [0, 0]]] });
  draft.remove({ part: 0, point: 0 });
  assert.equal(draft.parts[0]!.length, 3);
  draft.insertAfter({ part: 0, point: 2 }, [0.5, 0.5]);
  draft.remove({ part: 0, point: 0 });
  assert.deepEqual(draft.parts[0], [[1, 0], [1, 1], [0.5, 0.5]]);
});

test('lines of JSON are read however they are cut', async () => {
  const bytes = new TextEncoder().encode('{"a":"é"}\n\n{"a":2}\n{"a":3}');
  const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
    start(controller) {
      for (const byte of bytes) controller.enqueue(new Uint8Array([byte]));
      controller.close();
    },
  });
  const lines: unknown[] = [];
  for await (const line of jsonLines(stream)) lines.push(line);
  assert.deepEqual(lines, [{ a: 'é' }, { a: 2 }, { a: 3 }]);
});

test('an alert is read from the event that tells of it', () => {
  const data = { alert: 'a1', rule: 'r', severity: 'critical', state: 'open', fence: 'depot', event: { id: 'e', type: 'fence.entered', time: '2026-01-01T00:00:00Z' } };
  const alert = alertOf(event('alert.opened', '2026-01-01T00:00:01Z', { data }));
  assert.equal(alert?.id, 'a1');
  assert.equal(alert?.opened_at, '2026-01-01T00:00:00Z');
  assert.equal(alertOf(event('fence.entered', '2026-01-01T00:00:01Z')), null);
});
