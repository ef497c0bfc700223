/** The last events of something, newest first. Pure. */

import type { WaymarkEvent } from './model.ts';

/** With one more, in place of its former self; an older revision than is there changes nothing. */
export function withEvent(events: readonly WaymarkEvent[], event: WaymarkEvent, kept: number): readonly WaymarkEvent[] {
  const known = events.find((each) => each.id === event.id);
  if (known !== undefined && known.revision > event.revision) return events;
  return [event, ...events.filter((each) => each !== known)]
    .sort((a, b) => Date.parse(b.time) - Date.parse(a.time)).slice(0, kept);
}
