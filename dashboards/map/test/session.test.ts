import assert from 'node:assert/strict';
import { test } from 'node:test';
import { enter, type Given } from '../src/entrance.ts';
import { Session, type Answer, type Kept, type SessionWorld } from '../src/session.ts';

interface Sent {
  readonly path: string;
  readonly body: Record<string, unknown>;
}

/** Several tabs of one browser: each with its storage, all with one clock, one server and one channel. */
class FakeBrowser {
  now = 1_000_000;
  readonly sent: Sent[] = [];
  readonly answers: (Answer | 'no network')[] = [];
  private timers: { at: number; run: () => void }[] = [];
  private readonly listeners: { tab: number; listener: (kept: Kept) => void }[] = [];
  private locked: Promise<unknown> = Promise.resolve();
  private tabs = 0;

  tab(stored: Kept | null = null): SessionWorld & { stored: Kept | null } {
    const browser = this;
    const tab = ++this.tabs;
    return {
      stored,
      async post(path, body) {
        browser.sent.push({ path, body: body as Record<string, unknown> });
        const answer = browser.answers.shift() ?? 'no network';
        await Promise.resolve();
        if (answer === 'no network') throw new TypeError('no network');
        return answer;
      },
      now_ms: () => browser.now,
      after(ms, run) {
        const timer = { at: browser.now + ms, run };
        browser.timers.push(timer);
        return () => (browser.timers = browser.timers.filter((each) => each !== timer));
      },
      alone(_name, run) {
        const mine = browser.locked.then(run);
        browser.locked = mine.catch(() => {});
        return mine;
      },
      keep(kept) { this.stored = kept; },
      kept() { return this.stored; },
      tell: (kept) => browser.listeners.filter((each) => each.tab !== tab).forEach((each) => each.listener(kept)),
      hear: (listener) => browser.listeners.push({ tab, listener }),
    };
  }

  async pass(ms: number): Promise<void> {
    const end = this.now + ms;
    for (;;) {
      const next = this.timers.sort((a, b) => a.at - b.at)[0];
      if (next === undefined || next.at > end) break;
      this.timers.shift();
      this.now = next.at;
      next.run();
      await settled();
    }
    this.now = end;
    await settled();
  }
}

/** All that waits for nothing but promises is done. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const tokens = (n: number, status = 200): Answer => ({
  status,
  body: { access_token: `a${n}`, refresh_token: `r${n}`, expires_in: 900, session_id: 's' },
});
const refusal = (status: number, field: string | null = null): Answer => ({ status, body: { detail: 'no', field } });
const begun = (browser: FakeBrowser) => {
  const world = browser.tab();
  const session = Session.begin(tokens(1).body as Parameters<typeof Session.begin>[0], 'ann@acme.example', world);
  return { world, session };
};

test('a session renews itself a minute before its token ends, and tells who listens', async () => {
  const browser = new FakeBrowser();
  const { world, session } = begun(browser);
  const heard: string[] = [];
  session.onToken((token) => heard.push(token));
  browser.answers.push(tokens(2), tokens(3));
  await browser.pass(839_000);
  assert.deepEqual(browser.sent, []);
  await browser.pass(1_000);
  assert.deepEqual(browser.sent, [{ path: 'auth/refresh', body: { refresh_token: 'r1' } }]);
  assert.equal(session.token, 'a2');
  await browser.pass(840_000);
  assert.deepEqual(heard, ['a2', 'a3']);
  assert.equal(world.stored?.refresh, 'r3');
});

test('a reload goes on with what is stored, and asks only when it is time', async () => {
  const browser = new FakeBrowser();
  const { world } = begun(browser);
  await browser.pass(600_000);
  const again = Session.remembered(browser.tab(world.stored));
  assert.equal(again?.token, 'a1');
  assert.equal(again?.who, 'ann@acme.example');
  assert.deepEqual(browser.sent, []);
  assert.equal(Session.remembered(browser.tab()), null);
});

test('whoever finds the token refused at once waits for one renewal', async () => {
  const browser = new FakeBrowser();
  const { session } = begun(browser);
  browser.answers.push(tokens(2));
  assert.deepEqual(await Promise.all([session.renew(), session.renew(), session.renew()]), ['renewed', 'renewed', 'renewed']);
  assert.equal(browser.sent.length, 1);
});

test('without an answer it tries again, and the session goes on', async () => {
  const browser = new FakeBrowser();
  const { session } = begun(browser);
  browser.answers.push('no network', refusal(503), tokens(2));
  assert.equal(await session.renew(), 'later');
  assert.equal(session.token, 'a1');
  await browser.pass(10_000);
  assert.equal(session.token, 'a2');
  assert.equal(browser.sent.length, 3);
});

test('a refresh token that is refused is the end', async () => {
  const browser = new FakeBrowser();
  const { session } = begun(browser);
  browser.answers.push(refusal(401));
  assert.equal(await session.renew(), 'over');
  await browser.pass(800_000);
  assert.equal(browser.sent.length, 1);
});

test('tabs that share a session renew it once and never show a spent token', async () => {
  const browser = new FakeBrowser();
  const { world, session: first } = begun(browser);
  const second = Session.remembered(browser.tab(world.stored))!;
  const heard: string[] = [];
  second.onToken((token) => heard.push(token));
  browser.answers.push(tokens(2), tokens(3));
  await browser.pass(840_000);
  assert.deepEqual([first.token, second.token], ['a2', 'a2']);
  assert.deepEqual(heard, ['a2']);
  assert.equal(browser.sent.length, 1);
  await Promise.all([first.renew(), second.renew()]);
  assert.deepEqual(browser.sent.map((each) => each.body['refresh_token']), ['r1', 'r2']);
  assert.deepEqual([first.token, second.token], ['a3', 'a3']);
});

test('a tab of another session does not mind', async () => {
  const browser = new FakeBrowser();
  const { session } = begun(browser);
  const other = Session.remembered(browser.tab({ id: 't', who: 'bob', access: 'b1', refresh: 'q1', ends_ms: browser.now + 900_000 }))!;
  browser.answers.push(tokens(2));
  await session.renew();
  assert.equal(other.token, 'b1');
});

test('signing out tells the server, forgets, and renews no more', async () => {
  const browser = new FakeBrowser();
  const { world, session } = begun(browser);
  await session.signOut();
  assert.deepEqual(browser.sent, [{ path: 'auth/revoke', body: { refresh_token: 'r1' } }]);
  assert.equal(world.stored, null);
  await browser.pass(2_000_000);
  assert.equal(browser.sent.length, 1);
});

const given: Given = { way: 'password', tenant: 'acme', email: 'ann@acme.example', password: 'x', code: '', key: '' };

test('a password lets in, and a code is asked for where one is needed', async () => {
  const browser = new FakeBrowser();
  const world = browser.tab();
  browser.answers.push(refusal(401), refusal(401, 'code'), tokens(1));
  assert.deepEqual(await enter(given, null, world), { say: 'no', ask: 'anything' });
  assert.deepEqual(await enter(given, null, world), { say: 'no', ask: 'code' });
  const entered = await enter({ ...given, code: '123456' }, null, world);
  assert.ok('credential' in entered && entered.credential.token === 'a1');
  assert.deepEqual(browser.sent.map((each) => 'code' in each.body), [false, false, true]);
});

test('an invitation makes a password and signs in with it', async () => {
  const browser = new FakeBrowser();
  const world = browser.tab();
  browser.answers.push({ status: 200, body: { tenant: 'acme', email: 'ann@acme.example' } }, tokens(1));
  const entered = await enter({ ...given, way: 'invite', password: 'new' }, 'wmi_1', world);
  assert.ok('credential' in entered);
  assert.deepEqual(browser.sent, [
    { path: 'auth/invite', body: { invite: 'wmi_1', password: 'new' } },
    { path: 'auth/token', body: { tenant: 'acme', email: 'ann@acme.example', password: 'new' } },
  ]);
});

test('a server that does not answer is told apart from a wrong password', async () => {
  const entered = await enter(given, null, new FakeBrowser().tab());
  assert.ok('say' in entered && entered.say.includes('does not answer'));
});
