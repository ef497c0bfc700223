import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Renewal } from '../src/credential.ts';
import { Feed, retryMs, type FeedStatus, type Socket } from '../src/feed.ts';
import type { WaymarkEvent } from '../src/model.ts';

class FakeSocket {
  onopen: (() => void) | null = null;
  onmessage: ((message: { data: string }) => void) | null = null;
  onclose: ((close: { code: number; reason: string }) => void) | null = null;
  readonly sent: Record<string, unknown>[] = [];
  closed = false;

  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }
  close(): void {
    this.closed = true;
  }
  say(frame: object): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }
}

class FakeWorld {
  readonly sockets: FakeSocket[] = [];
  readonly events: number[] = [];
  readonly statuses: FeedStatus[] = [];
  gaps = 0;
  private timers: { at: number; run: () => void }[] = [];
  private now = 0;
  renewals: Renewal[] = [];
  readonly credential = { token: 'wmk_x', renew: () => Promise.resolve(this.renewals.shift() ?? ('over' as const)) };
  readonly feed = new Feed(this.credential, {
    positions: () => {},
    event: (event) => this.events.push(event.cursor),
    gap: () => (this.gaps += 1),
    status: (status) => this.statuses.push(status),
  }, {
    open: () => {
      const socket = new FakeSocket();
      this.sockets.push(socket);
      return socket as unknown as Socket;
    },
    after: (ms, run) => {
      const timer = { at: this.now + ms, run };
      this.timers.push(timer);
      return () => (this.timers = this.timers.filter((each) => each !== timer));
    },
    random: () => 1,
  });

  pass(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const next = this.timers.sort((a, b) => a.at - b.at)[0];
      if (next === undefined || next.at > end) break;
      this.timers.shift();
      this.now = next.at;
      next.run();
    }
    this.now = end;
  }
  get last(): FakeSocket {
    return this.sockets.at(-1)!;
  }
  get status(): string {
    return this.statuses.at(-1)!.kind;
  }
  connect(cursor: number): void {
    this.last.onopen?.();
    this.last.say({ type: 'ready', live: true });
    this.last.say({ type: 'snapshot', id: 'fleet', cursor, more: false, positions: [] });
  }
  event(cursor: number): void {
    this.last.say({ type: 'event', cursor, event: { id: `e${cursor}`, cursor } as WaymarkEvent });
  }
}

/** All that waits for nothing but promises is done. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('the key goes first, then the subscription, and the snapshot makes it live', () => {
  const world = new FakeWorld();
  world.feed.start();
  assert.equal(world.status, 'connecting');
  world.connect(7);
  assert.deepEqual(world.last.sent, [
    { op: 'auth', token: 'wmk_x' }, { op: 'subscribe', id: 'fleet', filter: {} },
  ]);
  assert.equal(world.status, 'live');
});

test('after a loss it resumes from the last event, and each event is delivered once', () => {
  const world = new FakeWorld();
  world.feed.start();
  world.connect(7);
  world.event(8);
  world.event(9);
  world.last.onclose?.({ code: 1013, reason: '' });
  assert.equal(world.status, 'reconnecting');
  world.pass(60_000);
  world.connect(9);
  assert.equal(world.last.sent[1]?.['since'], 9);
  world.event(9);
  world.event(10);
  assert.deepEqual(world.events, [8, 9, 10]);
});

test('with no event yet it resumes from the cursor of the first snapshot', () => {
  const world = new FakeWorld();
  world.feed.start();
  world.connect(7);
  world.last.onclose?.({ code: 1006, reason: '' });
  world.pass(60_000);
  // Events 8 to 20 happened meanwhile: the new snapshot's cursor must not hide them.
  world.connect(20);
  assert.equal(world.last.sent[1]?.['since'], 7);
  world.event(8);
  assert.deepEqual(world.events, [8]);
});

test('the waits grow with jitter up to a bound, and a success starts them anew', () => {
  assert.deepEqual([0, 1, 2, 3].map((n) => retryMs(n, 1)), [500, 1000, 2000, 4000]);
  assert.equal(retryMs(0, 0), 250);
  assert.equal(retryMs(99, 1), 15_000);
  const world = new FakeWorld();
  world.feed.start();
  for (let i = 0; i < 4; i += 1) {
    world.last.onclose?.({ code: 1006, reason: '' });
    // Longer than each wait, shorter than the time a server has to answer.
    world.pass(8_000);
  }
  world.connect(1);
  world.last.onclose?.({ code: 1006, reason: '' });
  assert.deepEqual(world.statuses.at(-1), { kind: 'reconnecting', attempt: 1, retry_ms: 500 });
});

test('a refused key ends it, and nothing is tried again', async () => {
  const world = new FakeWorld();
  world.feed.start();
  world.last.onopen?.();
  world.last.onclose?.({ code: 4401, reason: 'this API key was revoked' });
  await settled();
  assert.deepEqual(world.statuses.at(-1), { kind: 'refused', message: 'this API key was revoked' });
  world.pass(600_000);
  world.feed.hurry();
  assert.equal(world.sockets.length, 1);
});

test('a token that has ended is renewed, and the feed comes back with the new one after a pause', async () => {
  const world = new FakeWorld();
  world.feed.start();
  world.connect(7);
  world.renewals.push('renewed', 'later');
  world.credential.token = 'second';
  world.last.onclose?.({ code: 4401, reason: 'expired' });
  await settled();
  assert.equal(world.sockets.length, 1);
  world.pass(2_000);
  world.connect(7);
  assert.deepEqual(world.last.sent[0], { op: 'auth', token: 'second' });
  assert.equal(world.last.sent[1]?.['since'], 7);
  // Nobody can tell at the moment: it goes on trying.
  world.last.onclose?.({ code: 4401, reason: 'expired' });
  await settled();
  world.pass(2_000);
  assert.equal(world.sockets.length, 3);
});

test('a newer token is shown on the open socket, and not on one that is still opening', () => {
  const world = new FakeWorld();
  world.feed.start();
  world.feed.showToken('early');
  assert.deepEqual(world.last.sent, []);
  world.connect(7);
  world.feed.showToken('newer');
  assert.deepEqual(world.last.sent.at(-1), { op: 'auth', token: 'newer' });
  assert.equal(world.sockets.length, 1);
});

test('a silent connection is asked for a sign of life, and given up without one', () => {
  const world = new FakeWorld();
  world.feed.start();
  world.connect(1);
  world.pass(21_000);
  assert.deepEqual(world.last.sent.at(-1), { op: 'ping' });
  world.last.say({ type: 'pong' });
  world.pass(15_000);
  assert.equal(world.status, 'live');
  world.pass(16_000);
  assert.equal(world.sockets[0]?.closed, true);
  assert.equal(world.status, 'reconnecting');
});

test('a heartbeat moves the cursor on, and one that comes late does not move it back', () => {
  const world = new FakeWorld();
  world.feed.start();
  world.connect(5);
  world.last.say({ type: 'heartbeat', cursor: 9 });
  world.last.say({ type: 'heartbeat', cursor: 8 });
  world.last.say({ type: 'heartbeat' });
  world.last.say({ type: 'a type of tomorrow' });
  world.last.onclose?.({ code: 1006, reason: '' });
  world.pass(60_000);
  world.connect(20);
  assert.equal(world.last.sent[1]?.['since'], 9);
});

test('a gap moves the cursor on and asks for the events elsewhere', () => {
  const world = new FakeWorld();
  world.feed.start();
  world.connect(5);
  world.last.say({ type: 'gap', cursor: 50, reason: 'cursor_ahead' });
  world.event(51);
  assert.equal(world.gaps, 1);
  assert.deepEqual(world.events, [51]);
});

test('frames of a connection given up are ignored', () => {
  const world = new FakeWorld();
  world.feed.start();
  world.connect(1);
  const old = world.last;
  const speak = old.onmessage!;
  old.onclose?.({ code: 1006, reason: '' });
  speak({ data: JSON.stringify({ type: 'event', cursor: 2, event: { cursor: 2 } }) });
  assert.deepEqual(world.events, []);
});
