/** Which panel a narrow screen shows, and how much of the map the panels cover. */

import type { Insets } from './map.ts';
import { byId } from './dom.ts';

// As in style.css.
const NARROW = '(max-width: 760px)';

export type Tab = 'map' | 'fleet' | 'shipments' | 'events' | 'alerts';

/** On a narrow screen the panels are tabs; on a wide one all are there but of fleet and shipments the one opened last. */
export class Tabs {
  private readonly buttons = [...byId('tabs').querySelectorAll<HTMLButtonElement>('button')];
  private readonly lists = [...byId('lists').querySelectorAll<HTMLButtonElement>('button')];

  constructor() {
    for (const button of [...this.buttons, ...this.lists]) button.onclick = () => this.open(button.dataset['tab'] as Tab);
  }

  open(tab: Tab): void {
    document.body.dataset['tab'] = tab;
    for (const button of this.buttons) button.setAttribute('aria-pressed', String(button.dataset['tab'] === tab));
    if (tab !== 'fleet' && tab !== 'shipments') return;
    for (const button of this.lists) button.setAttribute('aria-pressed', String(button.dataset['tab'] === tab));
    byId('fleet').hidden = tab !== 'fleet';
    byId('shipments').hidden = tab !== 'shipments';
  }
}

/** The pixels at each edge of the map that lie under a panel. */
export function insets(): Insets {
  if (matchMedia(NARROW).matches) {
    // What is open lies over the lower part; on the lowest screens some of the map is left all the same.
    const bottom = Math.max(70, Math.min(70 + byId('side').offsetHeight, innerHeight - 280));
    return { top: 60, right: 0, bottom, left: 0 };
  }
  return { top: 0, bottom: 0, left: byId('left').offsetWidth + 12, right: byId('side').offsetWidth + 12 };
}
