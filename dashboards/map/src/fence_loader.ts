/** Brings the fences of the part of the Earth in view into the book, and keeps them current. */

import { ApiError, type Api } from './api.ts';
import { padded, siteOf, type Changes, type FenceBook } from './fence_book.ts';
import { boxOf, type Box, type Ground } from './ground.ts';
import type { Fence } from './model.ts';

const DEBOUNCE_MS = 250;
// 10,000 fences. More in one view cannot be told apart, and the note asks to come closer.
const MAX_PAGES = 20;

export class FenceLoader {
  /** There are more fences in view than are shown. */
  crowded = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private loading = new AbortController();
  private readonly asked = new Set<string>();

  constructor(
    private readonly api: Api, private readonly book: FenceBook, private readonly ground: Ground,
    private readonly onChange: (changes: Changes) => void,
    private readonly asking: (ask: () => Promise<void>) => Promise<void>,
  ) {}

  /** The view moved to `box`: read what is not known of it, once it stays there. */
  look(box: Box): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.asking(() => this.load(box)), DEBOUNCE_MS);
  }

  stop(): void {
    clearTimeout(this.timer);
    this.loading.abort();
  }

  private async load(view: Box): Promise<void> {
    if (this.book.knows(held(view), Date.now())) return;
    this.loading.abort();
    const loading = (this.loading = new AbortController());
    const box = padded(held(view));
    const seen = new Set<string>();
    let cursor: string | null = null;
    try {
      for (let page = 0; page < MAX_PAGES; page += 1) {
        const answer = await this.api.fences(box, cursor, loading.signal);
        await this.take(answer.items);
        for (const fence of answer.items) seen.add(fence.id);
        cursor = answer.next;
        if (cursor === null) break;
      }
      this.crowded = cursor !== null;
      if (cursor === null) this.onChange(this.book.settle(box, seen, Date.now()));
      else this.onChange({ put: [], drop: [] });
    } catch (error) {
      // A later look took its place.
      if (!loading.signal.aborted) throw error;
    }
  }

  /** Take in fences as the API tells them. One that cannot be drawn is left out, and does not keep the others out. */
  async take(fences: readonly Fence[]): Promise<void> {
    await this.ground.ready(fences.map((fence) => fence.shape));
    const changes = fences.map((fence) => this.put(fence));
    this.onChange({ put: changes.flatMap(({ put }) => put), drop: changes.flatMap(({ drop }) => drop) });
  }

  private put(fence: Fence): Changes {
    const had = this.book.sites.get(fence.id);
    if (had?.fence.version === fence.version && fence.deleted_at == null) return { put: [], drop: [] };
    try {
      const outline = this.ground.outline(fence.shape);
      if (!boxOf(outline).every(Number.isFinite)) throw new Error('no ground');
      return this.book.put(siteOf(fence, outline));
    } catch (error) {
      console.warn(`waymark: the fence ${fence.id} cannot be drawn:`, error);
      return { put: [], drop: [] };
    }
  }

  /** Read one fence: news told of a version of it that the page does not know. */
  async refresh(id: string): Promise<void> {
    if (this.asked.has(id)) return;
    this.asked.add(id);
    await this.asking(async () => {
      try {
        await this.take([await this.api.fence(id)]);
      } catch (error) {
        if (!(error instanceof ApiError) || error.status !== 404) throw error;
        this.onChange(this.book.drop(id));
      }
    });
    this.asked.delete(id);
  }
}

// A map zoomed out shows more than there is.
function held([west, south, east, north]: Box): Box {
  return [Math.max(-180, west), Math.max(-90, south), Math.min(180, east), Math.min(90, north)];
}
