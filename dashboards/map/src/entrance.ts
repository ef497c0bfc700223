/** The ways in: an API key, a password, or an invitation that makes a password. No DOM. */

import type { Credential } from './credential.ts';
import { ApiKey } from './key.ts';
import { Session, type Answer, type SessionWorld } from './session.ts';

export type Way = 'password' | 'key' | 'invite';

/** What somebody typed; `code` is of the second factor. */
export interface Given {
  readonly way: Way;
  readonly tenant: string;
  readonly email: string;
  readonly password: string;
  readonly code: string;
  readonly key: string;
}

/** In, or what to say and to ask for. */
export type Entered =
  | { readonly credential: Credential }
  | { readonly say: string; readonly ask: 'code' | 'anything' };

interface Problem {
  readonly detail?: string;
  readonly field?: string | null;
}

/** Try to get in; `invite` is the one-time token of an invitation. */
export async function enter(given: Given, invite: string | null, world: SessionWorld): Promise<Entered> {
  if (given.way === 'key') return { credential: ApiKey.remember(given.key) };
  try {
    if (given.way === 'invite') return await accept(invite ?? '', given.password, world);
    return await signIn(given, world);
  } catch {
    return { say: 'The server does not answer. Try again.', ask: 'anything' };
  }
}

async function accept(invite: string, password: string, world: SessionWorld): Promise<Entered> {
  const answer = await world.post('auth/invite', { invite, password });
  if (answer.status !== 200) return refused(answer);
  const { tenant, email } = answer.body as { tenant: string; email: string };
  return signIn({ tenant, email, password, code: '' }, world);
}

async function signIn(given: Pick<Given, 'tenant' | 'email' | 'password' | 'code'>, world: SessionWorld): Promise<Entered> {
  const { tenant, email, password } = given;
  const code = given.code === '' ? {} : { code: given.code };
  const answer = await world.post('auth/token', { tenant, email, password, ...code });
  if (answer.status !== 200) return refused(answer);
  return { credential: Session.begin(answer.body as Parameters<typeof Session.begin>[0], email, world) };
}

function refused(answer: Answer): Entered {
  const problem = (answer.body ?? {}) as Problem;
  return {
    say: problem.detail ?? `the server answered ${answer.status}`,
    ask: answer.status === 401 && problem.field === 'code' ? 'code' : 'anything',
  };
}
