// The newest rows of a query. They are taken over at most once a second, and not at all while somebody points at the
// table, is in it with the keyboard, or has scrolled: then a button says how many wait.

import { type JSX, useCallback, useEffect, useRef, useState } from 'react';
import { type Frame, isNumber } from '../frames/frame';
import { cellText, heading, isStatus, toneOf } from '../format/cell';
import type { Zone } from '../format/time';
import { noteDrawn } from '../feed/debug';

const TAKE_MS = 1000;
const ROWS_MAX = 100;

interface Props {
  readonly id: string;
  readonly title: string;
  readonly frame: Frame;
  readonly unit: string | undefined;
  readonly zone: Zone;
}

/** Names a row across moments: its hidden columns (the key) or all it shows. */
function rowKeys(frame: Frame): string[] {
  const hidden = frame.columns.flatMap((column, index) => (column.hidden ? [index] : []));
  const columns = hidden.length > 0 ? hidden : frame.shown();
  const met = new Map<string, number>();
  return Array.from({ length: Math.min(frame.length, ROWS_MAX) }, (_, row) => {
    const key = columns.map((column) => frame.text(column, row)).join('\u0001');
    const times = met.get(key) ?? 0;
    met.set(key, times + 1);
    return times ? `${key}\u0001${times}` : key;
  });
}

/** Hands on frames at most once a second, and none while `held`. */
function useTaken(frame: Frame, held: boolean): { taken: Frame; take: () => void } {
  const [taken, setTaken] = useState(frame);
  const latest = useRef(frame);
  latest.current = frame;
  const takenAt = useRef(0);
  const take = useCallback(() => {
    takenAt.current = performance.now();
    setTaken(latest.current);
  }, []);
  useEffect(() => {
    if (held || frame === taken) return undefined;
    const timer = setTimeout(take, Math.max(0, TAKE_MS - (performance.now() - takenAt.current)));
    return () => clearTimeout(timer);
  }, [frame, taken, held, take]);
  return { taken, take };
}

export function RowsTable({ id, title, frame, unit, zone }: Props): JSX.Element {
  const [pointed, setPointed] = useState(false);
  const [focused, setFocused] = useState(false);
  const [scrolled, setScrolled] = useState(false);
  const held = pointed || focused || scrolled;
  const { taken, take } = useTaken(frame, held);
  useEffect(() => noteDrawn(id, taken, taken === frame), [id, taken, frame]);

  const keys = rowKeys(taken);
  const before = useRef<Set<string> | null>(null);
  const known = before.current;
  useEffect(() => {
    before.current = new Set(keys);
  });
  let waiting = 0;
  if (held && frame !== taken) {
    const shown = new Set(keys);
    waiting = rowKeys(frame).filter((key) => !shown.has(key)).length;
  }
  const scroller = useRef<HTMLDivElement>(null);
  const release = (): void => {
    scroller.current?.scrollTo({ top: 0 });
    setScrolled(false);
    take();
  };
  const columns = taken.shown();
  return (
    <div className="rows-wrap" onPointerEnter={(event) => event.pointerType === 'mouse' && setPointed(true)} onPointerLeave={() => setPointed(false)}>
      <div className="rows-scroll" ref={scroller} tabIndex={0} role="region" aria-label={`${title}, rows`}
        onFocus={() => setFocused(true)} onBlur={() => setFocused(false)}
        onScroll={(event) => setScrolled(event.currentTarget.scrollTop > 4)}>
        <table className="rows">
          <thead>
            <tr>{columns.map((c) => <th key={c} scope="col" className={isNumber(taken.columns[c]!) ? 'num' : ''}>{heading(taken.columns[c]!.name)}</th>)}</tr>
          </thead>
          <tbody>
            {keys.map((key, row) => (
              <tr key={key} data-row={row} className={known && !known.has(key) ? 'new' : undefined}>
                {columns.map((c) => <RowCell key={c} frame={taken} column={c} row={row} unit={unit} zone={zone} />)}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {held && waiting > 0 && (
        <button type="button" className="waiting" onClick={release}>{waiting >= ROWS_MAX ? `${waiting}+` : waiting} new</button>
      )}
    </div>
  );
}

function RowCell({ frame, column, row, unit, zone }: { frame: Frame; column: number; row: number; unit: string | undefined; zone: Zone }): JSX.Element {
  const { name } = frame.columns[column]!;
  const { text, full } = cellText(frame, column, row, zone, unit);
  const status = isStatus(name) && text !== '—';
  return (
    <td className={isNumber(frame.columns[column]!) ? 'num' : ''} data-label={heading(name)} title={full === text ? undefined : full}>
      {status ? <span className={`pill tone-${toneOf(text)}`}>{text}</span> : text}
    </td>
  );
}
