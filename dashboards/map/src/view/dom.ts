/** Making and finding elements. Text is always set as text, never as markup: names come from devices. */

export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K, className = '', ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className !== '') element.className = className;
  element.append(...children);
  return element;
}

export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`index.html has no #${id}`);
  return element as T;
}

/** Set the text only when it differs: writing it anyway would lay the page out again. */
export function say(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Up and down arrows, Home and End move between the buttons of a list. */
export function arrowKeys(list: HTMLElement): void {
  list.addEventListener('keydown', (key) => {
    const buttons = [...list.querySelectorAll<HTMLButtonElement>('button')];
    const at = buttons.indexOf(document.activeElement as HTMLButtonElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[key.key];
    if (to === undefined || at < 0) return;
    buttons[Math.max(0, Math.min(buttons.length - 1, to))]?.focus();
    key.preventDefault();
  });
}
