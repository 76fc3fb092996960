// A resource that is fetched again and again while somebody looks.

import { useEffect, useState } from 'react';
import { ApiError, getJson } from './api';
import type { LiveError } from './types';

export interface Polled<T> {
  readonly value: T | null;
  readonly error: LiveError | null;
}

/** GETs `path` now and every `everyMs` (0: once). Keeps the last value through errors. Null fetches nothing. */
export function usePolled<T>(path: string | null, everyMs: number): Polled<T> {
  const [state, setState] = useState<Polled<T> & { path: string | null }>({ path, value: null, error: null });
  useEffect(() => {
    if (path === null) return undefined;
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const load = async (): Promise<void> => {
      if (!document.hidden || everyMs === 0) {
        try {
          const value = await getJson<T>(path, abort.signal);
          setState({ path, value, error: null });
        } catch (error) {
          if (abort.signal.aborted) return;
          const detail = error instanceof ApiError ? error.detail : { message: String(error) };
          setState((old) => ({ path, value: old.path === path ? old.value : null, error: detail }));
        }
      }
      if (everyMs > 0 && !abort.signal.aborted) timer = setTimeout(() => void load(), everyMs);
    };
    void load();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [path, everyMs]);
  return state.path === path ? state : { value: null, error: null };
}
