/** What visits and events tell of fences: who entered and has not left, and what happened last. Pure. */

import { withEvent } from './event_log.ts';
import type { Visit, WaymarkEvent } from './model.ts';

const EVENTS_KEPT = 20;
// About 20 MB at worst; the fence that was longest without news goes first.
const FENCES_KEPT = 2_000;

export interface Stay {
  readonly inside: boolean;
  /** Of the fence's last event about the device. */
  readonly time: string;
  readonly event: string;
}

interface News {
  readonly stays: Map<string, Stay>;
  events: readonly WaymarkEvent[];
}

/** The id of the fence an event is about; alerts about a fence's event are not its events. */
export function fenceOf(event: WaymarkEvent): string | null {
  const { fence } = event.data;
  return typeof fence === 'string' && !event.type.startsWith('alert.') ? fence : null;
}

function enteredAt(exited: WaymarkEvent): string {
  const { entered_at } = exited.data;
  return typeof entered_at === 'string' ? entered_at : exited.time;
}

export class FenceNews {
  private readonly fences = new Map<string, News>();

  hear(event: WaymarkEvent): void {
    const fence = fenceOf(event);
    if (fence === null) return;
    const news = this.of(fence);
    const events = withEvent(news.events, event, EVENTS_KEPT);
    if (events === news.events) return;
    news.events = events;
    this.follow(news, event);
  }

  /** Take in the open visits of a fence, where no event told of something later. */
  seed(fence: string, visits: readonly Visit[]): void {
    const { stays } = this.of(fence);
    for (const { device, entered_at, entered_event } of visits) {
      const stay = stays.get(device);
      if (stay === undefined || Date.parse(stay.time) < Date.parse(entered_at)) {
        stays.set(device, { inside: true, time: entered_at, event: entered_event });
      }
    }
  }

  /** Events were missed: who is inside has to be asked again. */
  forgetStays(): void {
    for (const { stays } of this.fences.values()) stays.clear();
  }

  private of(fence: string): News {
    const news = this.fences.get(fence) ?? { stays: new Map<string, Stay>(), events: [] };
    this.fences.delete(fence);
    this.fences.set(fence, news);
    if (this.fences.size > FENCES_KEPT) this.fences.delete(this.fences.keys().next().value as string);
    return news;
  }

  private follow(news: News, event: WaymarkEvent): void {
    if (event.type !== 'fence.entered' && event.type !== 'fence.exited') return;
    const stay = news.stays.get(event.subject);
    if (event.status === 'retracted') {
      // A retracted leaving means that the visit goes on; a retracted entering that there was none.
      if (stay?.event !== event.id) return;
      if (event.type === 'fence.entered') news.stays.delete(event.subject);
      else news.stays.set(event.subject, { ...stay, inside: true, time: enteredAt(event) });
    } else if (stay === undefined || Date.parse(stay.time) <= Date.parse(event.time)) {
      news.stays.set(event.subject, { inside: event.type === 'fence.entered', time: event.time, event: event.id });
    }
  }

  stays(fence: string): ReadonlyMap<string, Stay> {
    return this.fences.get(fence)?.stays ?? new Map<string, Stay>();
  }

  /** The last events of a fence, newest first. */
  events(fence: string): readonly WaymarkEvent[] {
    return this.fences.get(fence)?.events ?? [];
  }
}
