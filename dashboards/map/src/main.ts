/** The page's way in: find out who it is, run the map for them, and start over when they are out. */

import 'maplibre-gl/dist/maplibre-gl.css';
import './style.css';
import './fences.css';
import './shipments.css';
import { Api } from './api.ts';
import type { Credential } from './credential.ts';
import { enter, type Way } from './entrance.ts';
import { ApiKey, takeFromAddress } from './key.ts';
import { LiveMap } from './live_map.ts';
import { Session } from './session.ts';
import { browserSession } from './session_world.ts';
import { askHow } from './view/signin.ts';

const world = browserSession();

function ask(way: Way, reason: string, invite: string | null = null): Promise<Credential> {
  return askHow(way, reason, (given) => enter(given, invite, world));
}

/** Who this tab is, from the address or from before; an invitation goes before both. */
async function whoever(): Promise<Credential> {
  const invite = takeFromAddress('invite');
  if (invite !== null) return ask('invite', '', invite);
  const key = takeFromAddress('key');
  if (key !== null) return ApiKey.remember(key);
  return Session.remembered(world) ?? ApiKey.remembered() ?? (await ask('password', ''));
}

async function start(): Promise<void> {
  const credential = await whoever();
  const reason = await new LiveMap(new Api(credential), credential).run();
  credential.forget();
  await ask(credential instanceof ApiKey ? 'key' : 'password', reason);
  location.reload();
}

void start();
