/** The browser's side of a session: its requests, timers, storage, and the other tabs. */

import type { Answer, Kept, SessionWorld } from './session.ts';

const STORED = 'waymark.session';
const TIMEOUT_MS = 15_000;

export function browserSession(): SessionWorld {
  const others = new BroadcastChannel(STORED);
  return {
    post,
    now_ms: Date.now,
    after: (ms, run) => {
      const timer = setTimeout(run, ms);
      return () => clearTimeout(timer);
    },
    // Only where the page came by https or from this machine; elsewhere the server's grace of seconds serves.
    alone: (name, run) => navigator.locks === undefined ? run() : navigator.locks.request(name, run),
    keep: (kept) => {
      if (kept === null) sessionStorage.removeItem(STORED);
      else sessionStorage.setItem(STORED, JSON.stringify(kept));
    },
    kept,
    tell: (news) => others.postMessage(news),
    hear: (listener) => (others.onmessage = (message: MessageEvent<Kept>) => listener(message.data)),
  };
}

function kept(): Kept | null {
  const stored = sessionStorage.getItem(STORED);
  return stored === null ? null : (JSON.parse(stored) as Kept);
}

async function post(path: string, body: object): Promise<Answer> {
  const answer = await fetch(`/v1/${path}`, {
    method: 'POST', body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' },
    signal: AbortSignal.timeout(TIMEOUT_MS), cache: 'no-store',
  });
  return { status: answer.status, body: await answer.json().catch(() => null) };
}
