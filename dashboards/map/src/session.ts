/**
 * Signed in by password: an access token of minutes, and a refresh token that is exchanged for the next pair.
 *
 * Renews itself before it ends, once at a time. Tabs that came to share a session (a duplicated tab copies what
 * is stored) tell each other of newer tokens, because the server ends a session whose spent token comes back.
 * Knows nothing of the DOM; sockets, clocks and storage are given.
 */

import type { Credential, Renewal } from './credential.ts';

/** What is kept of a session. */
export interface Kept {
  readonly id: string;
  readonly who: string;
  readonly access: string;
  readonly refresh: string;
  /** When the access token ends, by this machine's clock. */
  readonly ends_ms: number;
}

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** What a session needs of the world; tests give their own. */
export interface SessionWorld {
  /** Rejects when there was no answer. */
  post(path: string, body: object): Promise<Answer>;
  now_ms(): number;
  after(ms: number, run: () => void): () => void;
  /** Run while no other tab runs it for the same name. */
  alone<T>(name: string, run: () => Promise<T>): Promise<T>;
  keep(kept: Kept | null): void;
  kept(): Kept | null;
  /** Tell the other tabs. */
  tell(kept: Kept): void;
  /** Hear of the other tabs. */
  hear(listener: (kept: Kept) => void): void;
}

interface Tokens {
  readonly access_token: string;
  readonly expires_in: number;
  readonly refresh_token: string;
  readonly session_id: string;
}

// Long enough for a slow answer and a throttled timer of a hidden tab.
const EARLY_MS = 60_000;
const AGAIN_MS = 5_000;

export class Session implements Credential {
  private renewing: Promise<Renewal> | null = null;
  private cancelTimer: () => void = () => {};
  private listener: (token: string) => void = () => {};

  private constructor(private state: Kept, private readonly world: SessionWorld) {
    world.hear((kept) => this.adopt(kept));
    this.schedule();
  }

  /** The session of this tab. */
  static remembered(world: SessionWorld): Session | null {
    const kept = world.kept();
    return kept === null ? null : new Session(kept, world);
  }

  static begin(tokens: Tokens, who: string, world: SessionWorld): Session {
    const kept = keptOf(tokens, who, world.now_ms());
    world.keep(kept);
    return new Session(kept, world);
  }

  get token(): string {
    return this.state.access;
  }

  get who(): string {
    return this.state.who;
  }

  renew(): Promise<Renewal> {
    const seen = this.state.refresh;
    this.renewing ??= this.world
      .alone(`waymark.session.${this.state.id}`, () => this.exchange(seen))
      .finally(() => (this.renewing = null));
    return this.renewing;
  }

  onToken(listener: (token: string) => void): void {
    this.listener = listener;
  }

  async signOut(): Promise<void> {
    const refresh_token = this.state.refresh;
    this.forget();
    // Without a network the session ends by itself, a week after it was last used.
    await this.world.post('auth/revoke', { refresh_token }).catch(() => null);
  }

  forget(): void {
    this.cancelTimer();
    this.world.keep(null);
  }

  private async exchange(seen: string): Promise<Renewal> {
    // Another tab was first, and has told us.
    if (this.state.refresh !== seen) return 'renewed';
    const answer = await this.world.post('auth/refresh', { refresh_token: seen }).catch(() => null);
    if (answer?.status === 200) {
      this.take(keptOf(answer.body as Tokens, this.state.who, this.world.now_ms()));
      this.world.tell(this.state);
      return 'renewed';
    }
    if (answer?.status === 401) return 'over';
    this.retry();
    return 'later';
  }

  private adopt(kept: Kept): void {
    if (kept.id === this.state.id && kept.refresh !== this.state.refresh) this.take(kept);
  }

  private take(kept: Kept): void {
    this.state = kept;
    this.world.keep(kept);
    this.schedule();
    this.listener(kept.access);
  }

  private schedule(): void {
    this.cancelTimer();
    const left_ms = this.state.ends_ms - this.world.now_ms() - EARLY_MS;
    this.cancelTimer = this.world.after(Math.max(0, left_ms), () => void this.renew());
  }

  private retry(): void {
    this.cancelTimer();
    this.cancelTimer = this.world.after(AGAIN_MS, () => void this.renew());
  }
}

function keptOf(tokens: Tokens, who: string, now_ms: number): Kept {
  return {
    id: tokens.session_id, who, access: tokens.access_token, refresh: tokens.refresh_token,
    ends_ms: now_ms + tokens.expires_in * 1000,
  };
}
