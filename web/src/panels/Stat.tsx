// A number, its change on the range before, and its trend.

import { type JSX, useLayoutEffect, useRef } from 'react';
import type { Frame } from '../frames/frame';
import { shapeOf } from '../frames/shape';
import { change, exact, short } from '../format/number';
import { rangeBefore, rangeBeforeBrief } from '../format/time';
import { GLIDE_MS, mayMove } from '../ui/motion';
import type { Zoom } from '../dashboard/address';
import { Spark } from './Spark';

/** The number a stat shows: the first number of the first row; NaN if there is none. */
export function statValue(frame: Frame | null): number {
  if (!frame || frame.length === 0) return NaN;
  const column = shapeOf(frame).values[0];
  return column === undefined ? NaN : frame.number(column, 0);
}

/** The same number as the server sent it, for those who compare. */
function statText(frame: Frame): string {
  const column = shapeOf(frame).values[0];
  return column === undefined || frame.length === 0 ? '' : frame.text(column, 0);
}

interface Props {
  readonly title: string;
  readonly unit: string | undefined;
  readonly frame: Frame;
  readonly compare: Frame | null;
  readonly spark: Frame | null;
  readonly rangeSeconds: number;
  /** The fixed range, if the query follows it. */
  readonly zoom: Zoom | null;
}

export function Stat({ title, unit, frame, compare, spark, rangeSeconds, zoom }: Props): JSX.Element {
  const value = statValue(frame);
  const before = statValue(compare);
  // A count of nothing is zero; a sum of nothing is NULL, which for a reader is "none".
  const changed = compare && change(Number.isNaN(value) ? 0 : value, Number.isNaN(before) ? 0 : before);
  return (
    <div className={spark ? 'stat with-spark' : 'stat'}>
      <Glide value={value} unit={unit} data={statText(frame)} label={title} />
      {compare && (
        <p className={`stat-change ${changed?.word ?? ''}`} data-before={Number.isNaN(before) ? '' : before}
          title={`${exact(before, unit)} in ${rangeBefore(rangeSeconds)}`}>
          {changed
            ? <><b><span aria-hidden="true">{changed.arrow}</span><span className="vh">{changed.word}</span> {changed.text}</b> <span className="wide">on {rangeBefore(rangeSeconds)}</span><span className="narrow" aria-hidden="true">on {rangeBeforeBrief(rangeSeconds)}</span></>
            : <>nothing in {rangeBefore(rangeSeconds)}</>}
        </p>
      )}
      {spark && <Spark frame={spark} rangeSeconds={rangeSeconds} zoom={zoom} />}
    </div>
  );
}

/** A number that glides to its new value; what it shows at rest is exact to its rules. */
function Glide({ value, unit, data, label }: { value: number; unit: string | undefined; data: string; label: string }): JSX.Element {
  const node = useRef<HTMLSpanElement>(null);
  const shown = useRef(value);
  useLayoutEffect(() => {
    const from = shown.current;
    const write = (v: number): void => {
      shown.current = v;
      if (node.current) node.current.textContent = short(v, unit);
    };
    if (!mayMove() || !Number.isFinite(from) || !Number.isFinite(value) || from === value || document.hidden) {
      write(value);
      return undefined;
    }
    const whole = Number.isInteger(value) && Number.isInteger(from);
    const began = performance.now();
    let frame = requestAnimationFrame(function step(now) {
      const part = Math.min(1, (now - began) / GLIDE_MS);
      const eased = 1 - (1 - part) ** 3;
      const at = part < 1 ? from + (value - from) * eased : value;
      write(part < 1 && whole ? Math.round(at) : at);
      if (part < 1) frame = requestAnimationFrame(step);
    });
    return () => cancelAnimationFrame(frame);
  }, [value, unit]);
  return (
    <p className="stat-value" data-value={data} title={exact(value, unit)} aria-label={`${label}: ${exact(value, unit)}`}>
      <span ref={node} aria-hidden="true" />
    </p>
  );
}
