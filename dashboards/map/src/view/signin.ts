/** The form that asks for an API key. */

import { byId, say } from './dom.ts';

/** Ask until something is given; `reason` says why the last key will not do. */
export function askForKey(reason: string): Promise<string> {
  const dialog = byId<HTMLDialogElement>('signin');
  const input = byId<HTMLInputElement>('key');
  say(byId('signin-error'), reason);
  input.value = '';
  if (!dialog.open) dialog.showModal();
  input.focus();
  return new Promise((resolve) => {
    dialog.oncancel = (cancel) => cancel.preventDefault();
    dialog.querySelector('form')!.onsubmit = () => resolve(input.value.trim());
  });
}
