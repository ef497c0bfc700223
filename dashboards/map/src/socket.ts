/** The browser's side of the feed: a WebSocket to the server the page came from, and its timers. */

import type { World } from './feed.ts';

export function browserWorld(): World {
  const url = new URL('/v1/feed', location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  url.hash = '';
  return {
    open: () => new WebSocket(url),
    after: (ms, run) => {
      const timer = setTimeout(run, ms);
      return () => clearTimeout(timer);
    },
    random: Math.random,
  };
}
