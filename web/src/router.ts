// Client-side routing over the History API: a handful of pages, so a path is matched by hand.

import { useSyncExternalStore, type MouseEvent } from 'react';

export type Route =
  | { readonly page: 'home' }
  | { readonly page: 'dashboard'; readonly name: string }
  | { readonly page: 'table'; readonly name: string }
  | { readonly page: 'status' }
  | { readonly page: 'missing'; readonly path: string };

export function match(path: string): Route {
  const parts = path.split('/').filter(Boolean).map(decode);
  if (parts.length === 0) return { page: 'home' };
  if (parts.length === 2 && parts[0] === 'd') return { page: 'dashboard', name: parts[1]! };
  if (parts.length === 2 && parts[0] === 't') return { page: 'table', name: parts[1]! };
  if (parts.length === 1 && parts[0] === 'status') return { page: 'status' };
  return { page: 'missing', path };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

const listeners = new Set<() => void>();
const tell = (): void => listeners.forEach((listener) => listener());
window.addEventListener('popstate', tell);

/** Goes to an address of this page. `replace` leaves no step to come back to. */
export function go(to: string, replace = false): void {
  if (replace) history.replaceState(null, '', to);
  else history.pushState(null, '', to);
  if (!replace) window.scrollTo(0, 0);
  tell();
}

export function onNavigate(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const usePath = (): string => useSyncExternalStore(onNavigate, () => location.pathname);

/** For `<a onClick={follow}>`: stays in the page unless the visitor asks for a new tab. */
export function follow(event: MouseEvent<HTMLAnchorElement>): void {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  go(event.currentTarget.getAttribute('href') ?? '/');
}
