// The 48 pixels on top of every page.

import type { JSX, ReactNode } from 'react';
import { page, setHelp, setZone } from '../dashboard/page';
import { follow } from '../router';
import { nextMode, setMode, useMode } from '../theme/mode';
import { Auto, Keys, Mark, Moon, Sun } from './icons';
import { useStore } from './store';

interface Props {
  readonly title: string;
  /** What belongs to the page: filters, range. */
  readonly children?: ReactNode;
  /** What says how fresh it is. */
  readonly fresh?: ReactNode;
}

export function Header({ title, children, fresh }: Props): JSX.Element {
  const zone = useStore(page, (s) => s.zone);
  const mode = useMode();
  const zoneName = zone === 'utc' ? 'UTC' : 'Local time';
  return (
    <header className="top">
      <a className="home" href="/" onClick={follow} aria-label="Nowcast, all dashboards and tables"><Mark /></a>
      <h1 title={title}>{title}</h1>
      <div className="top-page">{children}</div>
      <div className="top-end">
        <button type="button" className="quiet zone" title={`Times are shown in ${zone === 'utc' ? 'UTC' : 'your time zone'}; press u to switch`}
          onClick={() => setZone(zone === 'utc' ? 'local' : 'utc')}>{zoneName}</button>
        {fresh}
        <button type="button" className="quiet" aria-label={`Theme: ${mode}. Switch to ${nextMode(mode)}`} title={`Theme: ${mode === 'system' ? 'as the system' : mode}`} onClick={() => setMode(nextMode(mode))}>
          {mode === 'system' ? <Auto /> : mode === 'light' ? <Sun /> : <Moon />}
        </button>
        <button type="button" className="quiet help-button" aria-label="Keys" title="Keys (?)" onClick={() => setHelp(true)}><Keys /></button>
      </div>
    </header>
  );
}
