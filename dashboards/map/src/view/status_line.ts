/** Live, or not, and since when. */

import type { FeedStatus } from '../feed.ts';
import { ageText } from '../wording.ts';
import { byId, say } from './dom.ts';

// Under this the fleet is plainly alive and an age would only flicker.
const QUIET_MS = 10_000;

export class StatusLine {
  kind: FeedStatus['kind'] = 'connecting';
  private readonly line = byId('status');
  private readonly text = this.line.querySelector('span') as HTMLElement;
  private heard_ms: number | null = null;
  private retryAt_ms = 0;
  private prompt = true;

  heard(wall_ms: number): void {
    this.heard_ms = wall_ms;
  }

  show(status: FeedStatus): void {
    this.kind = status.kind;
    this.line.dataset['kind'] = status.kind;
    if (status.kind === 'live') this.prompt = status.prompt;
    if (status.kind === 'reconnecting') this.retryAt_ms = Date.now() + status.retry_ms;
    this.refresh(Date.now());
  }

  refresh(wall_ms: number): void {
    say(this.text, this.words(wall_ms));
  }

  private words(wall_ms: number): string {
    const age_ms = this.heard_ms === null ? null : wall_ms - this.heard_ms;
    switch (this.kind) {
      case 'connecting': return 'Connecting';
      case 'refused': return 'Signed out';
      case 'live': return this.liveWords(age_ms);
      case 'reconnecting': {
        const wait_s = Math.max(0, Math.ceil((this.retryAt_ms - wall_ms) / 1000));
        const data = age_ms === null ? '' : `, data ${ageText(age_ms).replace(' ago', ' old')}`;
        return wait_s === 0 ? `Reconnecting${data}` : `Reconnecting in ${wait_s} s${data}`;
      }
    }
  }

  private liveWords(age_ms: number | null): string {
    const live = this.prompt ? 'Live' : 'Live, delayed';
    return age_ms === null || age_ms < QUIET_MS ? live : `${live}, last news ${ageText(age_ms)}`;
  }
}
