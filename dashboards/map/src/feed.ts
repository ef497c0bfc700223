/**
 * The websocket feed: authenticate, subscribe, and after any loss resume from the last event's cursor.
 *
 * Delivers each event revision once, in cursor order. Owns one socket and one timer at a time; `stop`
 * ends both. Knows nothing of the DOM or the fleet.
 */

import type { Credential } from './credential.ts';
import type { Position, WaymarkEvent } from './model.ts';

export type FeedStatus =
  | { readonly kind: 'connecting' }
  /** `prompt` is false while the server reads the database every few seconds, its fan-out being away. */
  | { readonly kind: 'live'; readonly prompt: boolean }
  | { readonly kind: 'reconnecting'; readonly attempt: number; readonly retry_ms: number }
  | { readonly kind: 'refused'; readonly message: string };

export interface FeedHandlers {
  positions(positions: readonly Position[], live: boolean): void;
  event(event: WaymarkEvent): void;
  /** The server cannot give the events since our cursor; they must be read again from the REST API. */
  gap(): void;
  status(status: FeedStatus): void;
}

/** The part of a WebSocket the feed uses. */
export interface Socket {
  onopen: ((open: Event) => void) | null;
  onmessage: ((message: MessageEvent) => void) | null;
  onclose: ((close: CloseEvent) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

/** What the feed needs of the world; tests give their own. */
export interface World {
  open(): Socket;
  after(ms: number, run: () => void): () => void;
  random(): number;
}

interface Frame {
  readonly type?: string;
  readonly positions?: readonly Position[];
  readonly updates?: readonly Position[];
  readonly event?: WaymarkEvent;
  readonly cursor?: number;
  readonly live?: boolean;
  readonly message?: string;
}

const RETRY_FIRST_MS = 500;
const RETRY_MAX_MS = 15_000;
// A server that neither refuses nor answers in this time is gone.
const ANSWER_MS = 10_000;
// A browser shows neither the protocol's pings nor a connection that died silently, so we ask.
const QUIET_MS = 20_000;
// The private-use code modelled on HTTP 401.
const UNAUTHORIZED = 4401;

/** Half to all of an exponentially growing wait, so that a restarted server is not met by everyone at once. */
export function retryMs(attempt: number, random: number): number {
  const full = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** Math.min(attempt, 10));
  return full / 2 + (full / 2) * random;
}

export class Feed {
  private socket: Socket | null = null;
  private cancelTimer: () => void = () => {};
  private attempt = 0;
  private cursor: number | null = null;
  private stopped = false;
  private prompt = true;
  private greeted = false;

  constructor(private readonly credential: Pick<Credential, 'token' | 'renew'>, private readonly handlers: FeedHandlers, private readonly world: World) {}

  start(): void {
    this.stopped = false;
    this.handlers.status({ kind: 'connecting' });
    this.open();
  }

  stop(): void {
    this.stopped = true;
    this.drop();
  }

  /** Try again at once; for when the machine says that it is back on a network. */
  hurry(): void {
    if (this.stopped || this.socket !== null) return;
    this.cancelTimer();
    this.open();
  }

  /** Go on by a newer token, before the one that was shown ends. */
  showToken(token: string): void {
    if (this.greeted) this.socket?.send(JSON.stringify({ op: 'auth', token }));
  }

  private open(): void {
    const socket = this.world.open();
    this.socket = socket;
    this.cancelTimer = this.world.after(ANSWER_MS, () => this.lost(socket, 0, 'no answer'));
    socket.onopen = () => {
      socket.send(JSON.stringify({ op: 'auth', token: this.credential.token }));
      this.greeted = true;
      const since = this.cursor === null ? {} : { since: this.cursor };
      socket.send(JSON.stringify({ op: 'subscribe', id: 'fleet', filter: {}, ...since }));
    };
    socket.onmessage = (message) => this.take(socket, String(message.data));
    socket.onclose = (close) => this.lost(socket, close.code, close.reason);
  }

  private drop(): void {
    this.cancelTimer();
    const socket = this.socket;
    this.socket = null;
    this.greeted = false;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  private lost(socket: Socket, code: number, reason: string): void {
    if (socket !== this.socket) return;
    this.drop();
    if (code === UNAUTHORIZED) return void this.renew(reason || 'the server refused this credential');
    this.comeBack();
  }

  private async renew(reason: string): Promise<void> {
    const renewal = await this.credential.renew();
    if (this.stopped || this.socket !== null) return;
    if (renewal === 'over') return this.refuse(reason);
    // After a pause all the same, in case the server refuses the new one too.
    this.comeBack();
  }

  private comeBack(): void {
    const retry_ms = retryMs(this.attempt, this.world.random());
    this.attempt += 1;
    this.handlers.status({ kind: 'reconnecting', attempt: this.attempt, retry_ms });
    this.cancelTimer = this.world.after(retry_ms, () => this.open());
  }

  private refuse(message: string): void {
    this.stop();
    this.handlers.status({ kind: 'refused', message });
  }

  private take(socket: Socket, text: string): void {
    if (socket !== this.socket) return;
    this.expect(socket);
    const frame = JSON.parse(text) as Frame;
    switch (frame.type) {
      case 'ready':
      case 'status':
        this.prompt = frame.live ?? true;
        if (frame.type === 'status') this.handlers.status({ kind: 'live', prompt: this.prompt });
        return;
      case 'snapshot':
        this.attempt = 0;
        this.handlers.status({ kind: 'live', prompt: this.prompt });
        // A later page of a snapshot repeats its cursor; what came since must not be asked for again.
        if (frame.cursor !== undefined) this.cursor ??= frame.cursor;
        return this.handlers.positions(frame.positions ?? [], false);
      case 'positions':
        return this.handlers.positions(frame.updates ?? [], true);
      case 'event':
        return frame.event && this.deliver(frame.event, frame.cursor ?? frame.event.cursor);
      case 'heartbeat':
        // Nothing behind our cursor and up to this one was for us: a resume need not look there again.
        if (this.cursor !== null && frame.cursor !== undefined) this.cursor = Math.max(this.cursor, frame.cursor);
        return;
      case 'gap':
        if (frame.cursor !== undefined) this.cursor = Math.max(this.cursor ?? 0, frame.cursor);
        return this.handlers.gap();
      case 'error':
        console.warn('waymark feed:', frame.message ?? text);
    }
  }

  // After each message: ask for a sign of life when none comes by itself, and give up without one.
  private expect(socket: Socket): void {
    this.cancelTimer();
    this.cancelTimer = this.world.after(QUIET_MS, () => {
      socket.send(JSON.stringify({ op: 'ping' }));
      this.cancelTimer = this.world.after(ANSWER_MS, () => this.lost(socket, 0, 'no answer'));
    });
  }

  private deliver(event: WaymarkEvent, cursor: number): void {
    // Cursors rise in commit order, so what is not above the last one was delivered before.
    if (this.cursor !== null && cursor <= this.cursor) return;
    this.cursor = cursor;
    this.handlers.event(event);
  }
}
