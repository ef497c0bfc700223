/** Where the API key lives: this tab's session storage, and for a moment the address bar's fragment. */

const STORED = 'waymark.key';

/** The key of this tab, taken from `#key=...` when given; the fragment is then wiped from address bar and history. */
export function rememberedKey(): string | null {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const given = fragment.get('key');
  if (given !== null) {
    fragment.delete('key');
    const rest = fragment.toString();
    history.replaceState(null, '', location.pathname + location.search + (rest === '' ? '' : `#${rest}`));
    if (given !== '') rememberKey(given);
  }
  return sessionStorage.getItem(STORED);
}

export function rememberKey(key: string): void {
  sessionStorage.setItem(STORED, key);
}

export function forgetKey(): void {
  sessionStorage.removeItem(STORED);
}
