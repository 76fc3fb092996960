// The window's size, settled.

import { useSyncExternalStore } from 'react';

let size = { width: window.innerWidth, height: window.innerHeight };

function subscribe(listener: () => void): () => void {
  const onResize = (): void => {
    size = { width: window.innerWidth, height: window.innerHeight };
    listener();
  };
  window.addEventListener('resize', onResize);
  return () => window.removeEventListener('resize', onResize);
}

export const useWindow = (): { width: number; height: number } => useSyncExternalStore(subscribe, () => size);
