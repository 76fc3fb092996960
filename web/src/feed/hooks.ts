// Live data for components.

import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from 'react';
import { useStore } from '../ui/store';
import { Hub } from './hub';
import { type Connection, type LiveRequest, type LiveState, LOADING } from './types';

let hub: Hub | null = null;

/** The page's hub; opened by the first who asks. */
export const theHub = (): Hub => (hub ??= new Hub());

const NOTHING = (): (() => void) => () => undefined;

/**
 * Keeps `request` live while the component is mounted; null watches nothing. When the request changes (a filter was
 * set), the frame of the old one stays, marked `changing`, until the first of the new one.
 */
export function useLive(request: LiveRequest | null): LiveState {
  const key = request ? JSON.stringify([request.target, request.params ?? {}]) : '';
  const latest = useRef(request);
  latest.current = request;
  const subscribe = useCallback(
    (listener: () => void) => (key === '' ? NOTHING() : theHub().watch(key, latest.current!, listener)),
    [key],
  );
  const state = useSyncExternalStore(subscribe, () => (key === '' ? LOADING : theHub().state(key)));
  const last = useRef<LiveState | null>(null);
  const shown = state.frame || state.phase !== 'loading' || !last.current?.frame
    ? state
    : { ...last.current, changing: true };
  useEffect(() => {
    if (state.frame) last.current = state;
  }, [state]);
  return shown;
}

export const useConnection = <T>(pick: (connection: Connection) => T): T => useStore(theHub().connection, pick);

/** `Date.now()`, again every `everyMs`; stands still in a hidden tab. */
export function useClock(everyMs: number): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) setNow(Date.now());
    }, everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}
