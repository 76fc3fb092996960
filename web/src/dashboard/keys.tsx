// The page's keys, in one list that is both what they do and what `?` shows.

import { type JSX, useEffect } from 'react';
import { Dialog } from '../ui/Dialog';
import { useStore } from '../ui/store';
import { nextMode, currentMode, setMode } from '../theme/mode';
import { downloadCsv, panelInFocus, panelNode, toggleFullScreen } from '../panels/actions';
import { clearSelection, page, setHelp, setZone, setZoom, showSql, toggleTable } from './page';

interface Key {
  readonly keys: readonly string[];
  readonly what: string;
  /** True if it did something. */
  readonly act: (panel: string | null) => boolean;
}

const shownPanels = (): string[] =>
  [...document.querySelectorAll<HTMLElement>('[data-panel]')].map((node) => node.dataset.panel!);

const done = (act: void): boolean => {
  void act;
  return true;
};

function move(step: number): boolean {
  const ids = shownPanels();
  if (ids.length === 0) return false;
  const current = document.activeElement?.closest<HTMLElement>('[data-panel]')?.dataset.panel;
  const at = current ? ids.indexOf(current) : step > 0 ? -1 : 0;
  panelNode(ids[(at + step + ids.length) % ids.length]!)?.focus();
  return true;
}

const KEYS: readonly Key[] = [
  { keys: ['j'], what: 'Next panel', act: () => move(1) },
  { keys: ['k'], what: 'Panel before', act: () => move(-1) },
  { keys: ['t'], what: 'Panel as a table and back; all panels if none is chosen', act: (panel) => done(toggleTable(panel ? [panel] : shownPanels())) },
  { keys: ['s'], what: 'Query of the panel', act: (panel) => panel !== null && done(showSql(panel)) },
  { keys: ['c'], what: 'Panel as CSV', act: (panel) => panel !== null && done(downloadCsv(panel)) },
  { keys: ['f'], what: 'Panel in full screen', act: (panel) => panel !== null && done(toggleFullScreen(panel)) },
  { keys: ['l'], what: 'Back to live', act: () => done(setZoom(null)) },
  { keys: ['u'], what: 'Times in UTC or in your zone', act: () => done(setZone(page.get().zone === 'utc' ? 'local' : 'utc')) },
  { keys: ['d'], what: 'Theme: system, light, dark', act: () => done(setMode(nextMode(currentMode()))) },
  { keys: ['Escape'], what: 'Clear filters and zoom', act: () => clearSelection() },
  { keys: ['?'], what: 'These keys', act: () => done(setHelp(!page.get().help)) },
];

export function useKeys(): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
      const target = event.target as HTMLElement;
      if (target.closest('input, textarea, select, dialog, [contenteditable]')) return;
      const key = KEYS.find(({ keys }) => keys.includes(event.key));
      if (key?.act(panelInFocus())) event.preventDefault();
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, []);
}

export function Help(): JSX.Element | null {
  const open = useStore(page, (s) => s.help);
  if (!open) return null;
  return (
    <Dialog title="Keys" onClose={() => setHelp(false)}>
      <dl className="keys">
        {KEYS.map(({ keys, what }) => <div key={what}><dt>{keys.map((key) => <kbd key={key}>{key === 'Escape' ? 'Esc' : key}</kbd>)}</dt><dd>{what}</dd></div>)}
        <div><dt><kbd>↑</kbd><kbd>↓</kbd></dt><dd>Between bars; Enter filters by one</dd></div>
      </dl>
      <p className="note">Drag over a time chart to zoom the page; a double click goes back to live.</p>
    </Dialog>
  );
}
