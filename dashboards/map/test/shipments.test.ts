import assert from 'node:assert/strict';
import { test } from 'node:test';
import { distanceM } from '../src/geo.ts';
import type { LonLat, WaymarkEvent } from '../src/model.ts';
import { queries, ShipmentBook } from '../src/shipment_book.ts';
import { Carriers } from '../src/shipment_carriers.ts';
import { Hints, shipmentOf } from '../src/shipment_hints.ts';
import type { Eta, Shipment, ShipmentDetail, Stop } from '../src/shipment_model.ts';
import { actualText, certainty, clockOf, expectation, rangeText, statusText, wayText, whyUnknown, windowText, type Reader } from '../src/shipment_words.ts';
import { cut, straight } from '../src/way.ts';

const NOW = '2026-11-27T12:00:00Z';
const reader: Reader = { now_ms: Date.parse(NOW), zone: 'Europe/London', locale: 'en-GB' };
const at = (time: string): string => `2026-11-27T${time}:00Z`;
const nothing = { planned: null, estimated: null, actual: null };

const stop = (more: Partial<Stop> = {}): Stop => ({
  kind: 'delivery', name: 'Shop 4', time_zone: 'UTC', arrive: nothing, depart: nothing, planned_until: null, done: false, delayed: false, ...more,
});
const eta = (more: Partial<Eta> = {}): Eta => ({ state: 'unknown', as_of: null, stops: [], at_risk: [], ...more });
const expected = eta({ state: 'expected', as_of: NOW, stops: [{ stop: 0, arrive: at('14:17'), early: at('14:10'), late: at('14:25') }] });
const shipment = (id: string, more: Partial<Shipment> = {}): Shipment => ({
  id, order_ref: null, status: 'in_transit', since: NOW, exceptions: [], at_stop: null, next_stop: 0, stops: [stop()], eta: eta(), ...more,
});
const carried = (id: string, device: string | null, more: Partial<Shipment> = {}): ShipmentDetail => ({
  ...shipment(id, more), version: 1, route: null, last_seen: { position: null, stale: false, carried_by: { device, via: [] } },
}) as unknown as ShipmentDetail;
const ids = (shown: readonly Shipment[]): string[] => shown.map(({ id }) => id);

test('an arrival is a range on the clock of whoever waits, named where it is not the reader\'s', () => {
  assert.equal(rangeText(at('14:10'), at('14:25'), undefined, reader), '14:10–14:25');
  assert.equal(rangeText(at('14:10'), at('14:25'), 'Europe/Lisbon', reader), '14:10–14:25');
  assert.equal(rangeText(at('14:10'), at('14:25'), 'Europe/Amsterdam', reader), '15:10–15:25 Amsterdam');
  assert.equal(rangeText(at('14:10'), at('14:10'), 'America/New_York', reader), '09:10 New York');
  assert.match(rangeText('2026-11-28T09:00:00Z', '2026-11-28T09:20:00Z', undefined, reader), /^Sat,? 09:00–09:20$/);
  // A range that ends before it begins is a moment: what should have come comes now.
  assert.equal(rangeText(at('12:00'), at('11:58'), undefined, reader), '12:00');
  const of = (...zones: string[]): readonly Stop[] => [stop(), ...zones.map((time_zone) => stop({ time_zone, planned_until: at('15:00') }))];
  assert.equal(clockOf(of(), reader).note, 'Times are yours (Europe/London).');
  assert.equal(clockOf(of('Europe/Lisbon'), reader).note, 'Times are those of Europe/Lisbon.');
  const abroad = clockOf(of('Europe/Amsterdam', 'Europe/Amsterdam'), reader);
  assert.equal(abroad.note, 'Times are those of Europe/Amsterdam, where it is 13:00 now.');
  assert.equal(windowText(of('Europe/Amsterdam')[1]!, abroad.reader), 'until 16:00');
  assert.match(clockOf(of('Europe/Amsterdam', 'UTC'), reader).note, /except where another place is named/);
});

test('what is expected of a shipment, or why nothing is', () => {
  assert.equal(expectation(shipment('s', { eta: expected }), reader), '14:10–14:25');
  assert.equal(expectation(shipment('s', { eta: expected }), { ...reader, now_ms: Date.parse(at('14:24')) }), 'any minute');
  assert.equal(expectation(shipment('s', { eta: eta({ state: 'last_seen', as_of: at('11:20') }) }), reader), 'last seen 40 min ago');
  const planned = stop({ arrive: { ...nothing, planned: at('14:00') }, planned_until: at('15:00'), time_zone: 'Europe/London' });
  assert.equal(expectation(shipment('s', { status: 'planned', stops: [planned] }), reader), 'planned 14:00–15:00');
  const standing = stop({ depart: { ...nothing, estimated: at('12:20') } });
  const unloading = shipment('s', { status: 'at_stop', at_stop: 0, stops: [standing], eta: expected });
  assert.deepEqual([expectation(unloading, reader), statusText(unloading)], ['leaves 12:20', 'At Shop 4']);
  assert.equal(expectation(shipment('s', { status: 'delivered', since: at('11:02'), next_stop: null }), reader), '11:02');
  assert.deepEqual((['in_transit', 'arriving', 'cancelled'] as const).map((status) => statusText(shipment('s', { status }))), [
    'In transit to Shop 4', 'Arriving at Shop 4', 'Cancelled',
  ]);
  assert.match(certainty(expected.stops[0]!, undefined, reader), /^Most likely 14:17\. 8 of 10/);
  assert.match(whyUnknown(shipment('s'), carried('s', null).last_seen), /nobody carries it/);
  assert.equal(whyUnknown(shipment('s', { eta: eta({ state: 'over' }) }), carried('s', null).last_seen), '');
});

test('a stop tells what was planned and what came of it', () => {
  const done = stop({
    arrive: { planned: at('09:00'), estimated: null, actual: at('09:12') }, depart: { ...nothing, actual: at('09:24') }, planned_until: at('09:30'),
  });
  assert.equal(actualText(done, reader), 'arrived 09:12, left 09:24');
  assert.equal(windowText(done, reader, 'planned '), 'planned 09:00–09:30');
  assert.equal(windowText(stop({ planned_until: at('09:30') }), reader), 'until 09:30');
  assert.equal(actualText(stop(), reader) + windowText(stop(), reader), '');
  const route = { length_m: 34_800, progress_m: 21_400, offset_m: 340, off_route: true };
  assert.equal(wayText({ ...carried('s', 'van'), route }), '21.4 km of 34.8 km along its route, 340 m beside it');
});

test('those in trouble come first, the worst of them at the top, and what is over last', () => {
  const book = new ShipmentBook();
  const due = (time: string): Partial<Shipment> => ({ stops: [stop({ arrive: { ...nothing, estimated: at(time) } })] });
  const troubled = [shipment('risk', { exceptions: ['at_risk'] }), shipment('gone', { exceptions: ['at_risk', 'overdue'] })];
  const rest = [
    shipment('old', { status: 'delivered', exceptions: ['delayed'] }), shipment('later', due('15:00')), shipment('soon', due('13:00')),
    shipment('tomorrow', { status: 'planned', order_ref: 'O-77' }),
  ];
  book.settle([{ items: troubled, more: false }, { items: rest, more: true }]);
  assert.deepEqual(ids(book.rows('all', '').shown), ['gone', 'risk', 'soon', 'later', 'tomorrow', 'old']);
  assert.deepEqual(ids(book.rows('under_way', '').shown), ['gone', 'risk', 'soon', 'later']);
  assert.deepEqual(ids(book.rows('trouble', '').shown), ['gone', 'risk']);
  assert.deepEqual(ids(book.rows('all', 'o-7').shown), ['tomorrow']);
  assert.deepEqual(ids(book.rows('all', 'SO').shown), ['soon']);
  assert.deepEqual([book.troubled(), book.rows('all', '').more], [{ count: 2, more: false }, true]);
  book.put(shipment('risk'));
  assert.deepEqual(ids(book.rows('trouble', '').shown), ['gone']);
});

test('of thousands a hundred are listed, and it is said that there are more', () => {
  const book = new ShipmentBook();
  book.settle([{ items: [], more: false }, { items: Array.from({ length: 150 }, (_, i) => shipment(`s-${i}`)), more: false }]);
  const { shown, more } = book.rows('all', '');
  assert.deepEqual([shown.length, more], [100, true]);
});

test('a list asks for those in trouble and its shelf, and a search for ids and orders', () => {
  assert.equal(queries('trouble', '').length, 1);
  assert.deepEqual(queries('under_way', 's-1').slice(1), [
    { status: ['at_stop', 'picked_up', 'in_transit', 'arriving'] }, { id: 's-1' }, { order: 's-1' },
  ]);
});

test('hints of one shipment are read once, a few each turn, the selected one first', () => {
  const hints = new Hints();
  assert.equal(hints.turn(0, null, []), 'list');
  hints.listed(0);
  for (let i = 0; i < 100; i += 1) for (const id of ['a', 'b', 'c', 'd', 'e']) hints.hear(id);
  assert.deepEqual(hints.turn(1_000, 'e', ['z']), ['e', 'a', 'b', 'c']);
  assert.deepEqual(hints.turn(2_000, null, ['d', 'y', 'z']), ['d', 'y', 'z']);
  assert.deepEqual(hints.turn(3_000, null, []), []);
  assert.equal(hints.turn(61_000, null, []), 'list');
});

test('a storm of hints reads the list now and then instead', () => {
  const hints = new Hints();
  hints.listed(0);
  let [reads, lists] = [0, 0];
  for (let s = 1; s <= 60; s += 1) {
    for (let i = 0; i < 1_000; i += 1) hints.hear(`s-${s}-${i}`);
    const turn = hints.turn(s * 1_000, null, []);
    if (turn === 'list') {
      lists += 1;
      hints.listed(s * 1_000);
    } else {
      reads += turn.length;
    }
  }
  assert.deepEqual([lists, reads], [6, 54 * 4]);
});

test('events about shipments are told from those of devices', () => {
  const of = (subject: string): string | null => shipmentOf({ subject } as WaymarkEvent);
  assert.deepEqual([of('shipment/s-1'), of('van-1')], ['s-1', null]);
});

test('what carries shipments in trouble is flagged by the worst, once somebody told who that is', () => {
  const carriers = new Carriers();
  const off = carried('s-1', 'van', { exceptions: ['off_route'] });
  const shown = [off, carried('s-2', 'van', { exceptions: ['at_risk'] }), carried('s-3', 'bus'), carried('s-4', null, { exceptions: ['delayed'] })];
  assert.deepEqual(carriers.lacking(shown, 0), ['s-1', 's-2', 's-4']);
  for (const each of shown) carriers.put(each, 0);
  carriers.flag(shown);
  assert.deepEqual(carriers.flagOf('van'), { words: 's-1 off route and 1 more', tone: 'bad' });
  assert.deepEqual([[...carriers.flagged], carriers.flagOf('bus')], [['van'], null]);
  assert.deepEqual([carriers.lacking(shown, 60_000), carriers.lacking(shown, 400_000).length], [[], 3]);
  carriers.flag([{ ...off, status: 'delivered' }]);
  assert.deepEqual([...carriers.flagged], []);
});

test('a way is cut where somebody is along it', () => {
  const line: LonLat[] = [[5, 52], [5.1, 52], [5.1, 52.05]];
  const [east, north] = [distanceM(5, 52, 5.1, 52), distanceM(5.1, 52, 5.1, 52.05)];
  const half = cut(line, (east / 2) / (east + north));
  assert.ok(Math.abs(half.at[0] - 5.05) < 1e-9 && half.at[1] === 52);
  assert.deepEqual([half.driven.length, half.rest.length], [2, 3]);
  assert.deepEqual(half.driven.at(-1), half.rest[0]);
  assert.deepEqual([cut(line, 0).at, cut(line, 1).at, cut(line, 7).at], [line[0], line[2], line[2]]);
  const [, over] = cut([[179.9, 0], [-179.9, 0]], 0.75).driven;
  assert.ok(Math.abs(over![0] - 180.05) < 1e-9);
});

test('without a planned way it goes straight from stop to stop, by way of where it is', () => {
  const [a, b, c, here]: LonLat[] = [[5, 52], [6, 52], [7, 52], [5.5, 52.1]];
  assert.deepEqual(straight([a!], [b!, c!], here!), { driven: [a, here], rest: [here, b, c], planned: false });
  assert.deepEqual(straight([a!], [b!], null).rest, [a, b]);
  // Before its first stop and after its last one, where its carrier is says nothing of its way.
  assert.deepEqual(straight([], [a!, b!], here!), { driven: [], rest: [a, b], planned: false });
  assert.deepEqual(straight([a!, b!], [], here!).driven, [a, b]);
});
