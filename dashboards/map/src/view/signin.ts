/** The form that lets people in: by password, by API key, or with an invitation. */

import type { Credential } from '../credential.ts';
import type { Entered, Given, Way } from '../entrance.ts';
import { byId, say } from './dom.ts';

const TITLES: Record<Way, string> = {
  password: 'Sign in to Waymark',
  key: 'Sign in to Waymark',
  invite: 'Choose a password',
};
const FIRST: Record<Way, string> = { password: 'email', key: 'key', invite: 'new-password' };

/** Ask until `enter` lets somebody in; `reason` says why what was there will not do. */
export function askHow(way: Way, reason: string, enter: (given: Given) => Promise<Entered>): Promise<Credential> {
  const dialog = byId<HTMLDialogElement>('signin');
  const form = dialog.querySelector('form')!;
  show(way);
  say(byId('signin-error'), reason);
  if (!dialog.open) dialog.showModal();
  byId(FIRST[way]).focus();
  return new Promise((resolve) => {
    dialog.oncancel = (cancel) => cancel.preventDefault();
    for (const button of dialog.querySelectorAll<HTMLButtonElement>('[data-way]')) {
      button.onclick = () => show(button.dataset['way'] as Way);
    }
    form.onsubmit = (submit) => {
      submit.preventDefault();
      void attempt(enter).then((credential) => {
        if (credential === null) return;
        form.reset();
        dialog.close();
        resolve(credential);
      });
    };
  });
}

async function attempt(enter: (given: Given) => Promise<Entered>): Promise<Credential | null> {
  const button = byId<HTMLButtonElement>('signin-go');
  button.disabled = true;
  const entered = await enter(given()).finally(() => (button.disabled = false));
  if ('credential' in entered) return entered.credential;
  say(byId('signin-error'), entered.say);
  if (entered.ask === 'code') {
    byId('code-row').hidden = false;
    const code = byId<HTMLInputElement>('code');
    code.required = true;
    code.focus();
    code.select();
  }
  return null;
}

function show(way: Way): void {
  byId('signin').dataset['way'] = way;
  say(byId('signin-title'), TITLES[way]);
  say(byId('signin-error'), '');
  // What is disabled is neither asked for nor sent.
  for (const group of byId('signin').querySelectorAll<HTMLFieldSetElement>('fieldset')) {
    group.disabled = group.hidden = group.dataset['of'] !== way;
  }
  for (const button of byId('signin').querySelectorAll<HTMLButtonElement>('[data-way]')) {
    button.hidden = button.dataset['way'] === way || way === 'invite';
  }
}

function given(): Given {
  const way = byId('signin').dataset['way'] as Way;
  const text = (id: string): string => byId<HTMLInputElement>(id).value;
  return {
    way, tenant: text('tenant').trim(), email: text('email').trim(),
    password: text(way === 'invite' ? 'new-password' : 'password'),
    code: text('code').trim(), key: text('key').trim(),
  };
}
