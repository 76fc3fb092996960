// Categories as horizontal bars, the value at the end of each. Rows keep their place in the document and move by
// transform, so that focus and animation survive a new order; arrow keys follow what is seen.

import { type CSSProperties, type JSX, type KeyboardEvent, type ReactNode, useEffect, useMemo, useRef, useState } from 'react';
import type { Frame } from '../frames/frame';
import { type Bar, Categories, RESORT_MS } from '../frames/categories';
import { exact, short } from '../format/number';

interface Props {
  readonly title: string;
  readonly unit: string | undefined;
  readonly frame: Frame;
  /** Values that the page is filtered by; null if the panel sets no variable. */
  readonly selected: readonly string[] | null;
  readonly onPick: (name: string) => void;
  /** Shown while no category was ever seen. */
  readonly empty: ReactNode;
}

export function Bars({ title, unit, frame, selected, onPick, empty }: Props): ReactNode {
  const [categories] = useState(() => new Categories());
  const [turn, setTurn] = useState(0);
  // A frame is folded in when it is drawn; `turn` looks again when a new order was put off and nothing came since.
  const bars = useMemo(() => categories.update(frame, performance.now()), [categories, frame, turn]);
  useEffect(() => {
    const timer = setTimeout(() => setTurn((n) => n + 1), RESORT_MS + 50);
    return () => clearTimeout(timer);
  }, [frame]);

  const place = new Map(bars.map((bar, index) => [bar.name, index]));
  const stable = [...bars].sort((a, b) => (a.name < b.name ? -1 : 1));
  const high = Math.max(1e-9, ...bars.map((bar) => bar.value));
  const low = Math.min(0, ...bars.map((bar) => bar.value));
  const [active, setActive] = useState<string | null>(null);
  const current = active !== null && place.has(active) ? active : (bars[0]?.name ?? null);
  const list = useRef<HTMLUListElement>(null);

  const onKeyDown = (event: KeyboardEvent): void => {
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
    if (step === 0 || current === null) return;
    event.preventDefault();
    const next = bars[(place.get(current)! + step + bars.length) % bars.length]!.name;
    setActive(next);
    [...(list.current?.querySelectorAll<HTMLElement>('[data-bar]') ?? [])].find((node) => node.dataset.bar === next)?.focus();
  };
  if (bars.length === 0) return empty;
  const longest = Math.max(...bars.map((bar) => bar.name.length), 3);
  const style = { '--bars': bars.length, '--label': `${Math.min(18, longest * 0.56 + 0.6)}em` } as CSSProperties;
  return (
    <div className="bars-scroll">
      <ul className="bars" ref={list} style={style} aria-label={title} onKeyDown={onKeyDown}>
        {stable.map((bar) => (
          <BarRow key={bar.name} bar={bar} place={place.get(bar.name)!} unit={unit} share={(bar.value - low) / (high - low)}
            selected={selected} tab={bar.name === current} onPick={onPick} onFocus={() => setActive(bar.name)} />
        ))}
      </ul>
    </div>
  );
}

interface RowProps {
  readonly bar: Bar;
  readonly place: number;
  readonly unit: string | undefined;
  readonly share: number;
  readonly selected: readonly string[] | null;
  readonly tab: boolean;
  readonly onPick: (name: string) => void;
  readonly onFocus: () => void;
}

function BarRow({ bar, place, unit, share, selected, tab, onPick, onFocus }: RowProps): JSX.Element {
  const chosen = selected?.includes(bar.name) ?? false;
  const dim = selected !== null && selected.length > 0 && !chosen;
  const inner = (
    <>
      <span className="bar-label">{bar.name}</span>
      <span className="bar-track">
        <span className="bar-fill" style={{ '--share': Math.max(0, share) } as CSSProperties} />
        <span className="bar-value">{short(bar.value, unit)}</span>
      </span>
    </>
  );
  const props = {
    className: 'bar', 'data-bar': bar.name, title: `${bar.name}: ${exact(bar.value, unit)}`, tabIndex: tab ? 0 : -1, onFocus,
  };
  return (
    <li style={{ '--place': place } as CSSProperties} data-value={bar.value} className={dim ? 'dim' : ''}>
      {selected === null
        ? <div {...props} role="group" aria-label={`${bar.name}: ${exact(bar.value, unit)}`}>{inner}</div>
        : (
          <button type="button" {...props} aria-pressed={chosen} onClick={() => onPick(bar.name)}
            aria-label={`${bar.name}: ${exact(bar.value, unit)}. ${chosen ? 'Clear this filter' : 'Filter the page'}`}>
            {inner}
          </button>
        )}
    </li>
  );
}
