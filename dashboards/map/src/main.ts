/** The page's way in: find the key, run the map with it, and start over when the key is refused. */

import 'maplibre-gl/dist/maplibre-gl.css';
import './style.css';
import './fences.css';
import { Api } from './api.ts';
import { forgetKey, rememberedKey, rememberKey } from './key.ts';
import { LiveMap } from './live_map.ts';
import { askForKey } from './view/signin.ts';

async function start(): Promise<void> {
  const known = rememberedKey();
  const key = known ?? (await askForKey(''));
  rememberKey(key);
  const reason = await new LiveMap(new Api(key), key).run();
  forgetKey();
  rememberKey(await askForKey(reason));
  location.reload();
}

void start();
