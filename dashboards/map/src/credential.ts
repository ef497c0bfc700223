/** What every request shows, and what becomes of it when the server no longer takes it. */

/** `later`: the server cannot tell at the moment. */
export type Renewal = 'renewed' | 'over' | 'later';

export interface Credential {
  /** The bearer token of the next request. */
  readonly token: string;
  /** Who signed in, if that is known. */
  readonly who: string | null;
  /** Get a newer token in place of the one that was refused. */
  renew(): Promise<Renewal>;
  /** Call `listener` with each newer token; there is one listener. */
  onToken(listener: (token: string) => void): void;
  /** End it on the server, as far as that can be done, and forget it. */
  signOut(): Promise<void>;
  /** Forget it here. */
  forget(): void;
}
