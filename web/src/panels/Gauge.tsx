// A number between its limits, as an arc.

import type { JSX } from 'react';
import type { Frame } from '../frames/frame';
import { exact, short } from '../format/number';
import { statValue } from './Stat';

/** A half circle of radius 45 is this long. */
const LENGTH = Math.PI * 45;

export function Gauge({ title, unit, frame, min = 0, max = 100 }: { title: string; unit: string | undefined; frame: Frame; min?: number; max?: number }): JSX.Element {
  const value = statValue(frame);
  const share = Number.isFinite(value) ? Math.min(1, Math.max(0, (value - min) / (max - min || 1))) : 0;
  return (
    <div className="gauge" role="meter" aria-label={title} aria-valuemin={min} aria-valuemax={max} aria-valuenow={Number.isFinite(value) ? value : undefined} aria-valuetext={exact(value, unit)}>
      <svg viewBox="0 0 100 56" aria-hidden="true">
        <path className="gauge-track" d="M5 52a45 45 0 0 1 90 0" />
        <path className="gauge-fill" d="M5 52a45 45 0 0 1 90 0" strokeDasharray={`${share * LENGTH} 200`} />
      </svg>
      <p className="gauge-value" data-value={Number.isNaN(value) ? '' : value} title={exact(value, unit)}>{short(value, unit)}</p>
      <p className="gauge-limits"><span>{short(min, unit)}</span><span>{short(max, unit)}</span></p>
    </div>
  );
}
