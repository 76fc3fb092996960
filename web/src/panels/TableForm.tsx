// Any panel as a table: every row and every digit, for those who read rather than look.

import type { JSX } from 'react';
import { type Frame, isNumber, isTime } from '../frames/frame';
import { heading } from '../format/cell';
import { exactTime, type Zone } from '../format/time';

const ROWS_MAX = 500;

export function TableForm({ title, frame, zone }: { title: string; frame: Frame; zone: Zone }): JSX.Element {
  const columns = frame.shown();
  const rows = Math.min(frame.length, ROWS_MAX);
  return (
    <div className="rows-scroll" tabIndex={0} role="region" aria-label={`${title}, as a table`}>
      <table className="rows exact">
        <caption className="vh">{title}</caption>
        <thead>
          <tr>{columns.map((c) => <th key={c} scope="col" className={isNumber(frame.columns[c]!) ? 'num' : ''}>{heading(frame.columns[c]!.name)}</th>)}</tr>
        </thead>
        <tbody>
          {Array.from({ length: rows }, (_, row) => (
            <tr key={row} data-row={row}>
              {columns.map((c) => {
                const column = frame.columns[c]!;
                const value = frame.text(c, row);
                const text = value === '' ? '—' : isTime(column) ? exactTime(frame.timeUs(c, row), zone) : value;
                return <td key={c} data-value={value} className={isNumber(column) ? 'num' : ''}>{text}</td>;
              })}
            </tr>
          ))}
        </tbody>
      </table>
      {frame.length > rows && <p className="note">The first {ROWS_MAX} of {frame.length} rows. The CSV holds all of them.</p>}
    </div>
  );
}

/** The frame as CSV (RFC 4180), times in ISO 8601 UTC. */
export function toCsv(frame: Frame): string {
  const columns = frame.shown();
  const quote = (text: string): string => (/[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text);
  const lines = [columns.map((c) => quote(frame.columns[c]!.name)).join(',')];
  for (let row = 0; row < frame.length; row++) {
    lines.push(columns.map((c) => {
      const us = isTime(frame.columns[c]!) ? frame.timeUs(c, row) : NaN;
      return quote(Number.isNaN(us) ? frame.text(c, row) : `${exactTime(us, 'utc').replace(' ', 'T')}Z`);
    }).join(','));
  }
  return `${lines.join('\r\n')}\r\n`;
}
