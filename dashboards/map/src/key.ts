/** An API key: this tab's session storage keeps it; for a moment it may be in the address bar's fragment. */

import type { Credential, Renewal } from './credential.ts';

const STORED = 'waymark.key';

export class ApiKey implements Credential {
  readonly who = null;

  private constructor(readonly token: string) {}

  /** The key of this tab. */
  static remembered(): ApiKey | null {
    const key = sessionStorage.getItem(STORED);
    return key === null ? null : new ApiKey(key);
  }

  static remember(key: string): ApiKey {
    sessionStorage.setItem(STORED, key);
    return new ApiKey(key);
  }

  renew(): Promise<Renewal> {
    return Promise.resolve('over');
  }

  onToken(): void {}

  /** A key is other people's too: it is only forgotten. */
  signOut(): Promise<void> {
    this.forget();
    return Promise.resolve();
  }

  forget(): void {
    sessionStorage.removeItem(STORED);
  }
}

/** A secret from `#name=...`; the fragment is then wiped from address bar and history. */
export function takeFromAddress(name: string): string | null {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const given = fragment.get(name);
  if (given === null) return null;
  fragment.delete(name);
  const rest = fragment.toString();
  history.replaceState(null, '', location.pathname + location.search + (rest === '' ? '' : `#${rest}`));
  return given === '' ? null : given;
}
