// The page's variables as chips: what is chosen, a list to choose from, and one press to clear.

import { type JSX, useState } from 'react';
import { exec } from '../feed/api';
import { Menu } from '../ui/Menu';
import { Check, Cross, Down } from '../ui/icons';
import { useStore } from '../ui/store';
import type { VariableDef } from './definition';
import { page, setFilter, toggleFilter } from './page';

const NOTHING: readonly string[] = [];
/** A longer list is searched, not scrolled. */
const SEARCH_FROM = 10;
const SHOWN_MAX = 200;

export function Filters({ variables }: { variables: readonly VariableDef[] }): JSX.Element {
  return <>{variables.map((variable) => <Chip key={variable.name} variable={variable} />)}</>;
}

function Chip({ variable }: { variable: VariableDef }): JSX.Element {
  const chosen = useStore(page, (s) => s.filters[variable.name] ?? NOTHING);
  const [options, setOptions] = useState<readonly string[] | string>(variable.options ?? NOTHING);
  const load = (): void => {
    if (!variable.query || variable.options) return;
    exec(variable.query).then(
      (rows) => setOptions(rows.flatMap(([cell]) => (cell === null || cell === undefined ? [] : [String(cell)])).sort()),
      (error: Error) => setOptions(error.message),
    );
  };
  const label = chosen.length === 0 ? 'All' : chosen.length === 1 ? chosen[0]! : `${chosen[0]!} +${chosen.length - 1}`;
  return (
    <span className={chosen.length > 0 ? 'chip on' : 'chip'} data-variable={variable.name}>
      <Menu label={`${variable.title}: ${chosen.length > 0 ? chosen.join(', ') : 'all'}`} align="left" role="dialog" onOpen={load} className="chip-main"
        button={<><span className="chip-name">{variable.title}</span><b>{label}</b>{chosen.length === 0 && <Down />}</>}>
        {(close) => <Options variable={variable} chosen={chosen} options={options} close={close} />}
      </Menu>
      {chosen.length > 0 && (
        <button type="button" className="chip-clear" aria-label={`Clear ${variable.title}`} onClick={() => setFilter(variable.name, [])}><Cross /></button>
      )}
    </span>
  );
}

interface OptionsProps {
  readonly variable: VariableDef;
  readonly chosen: readonly string[];
  readonly options: readonly string[] | string;
  readonly close: () => void;
}

function Options({ variable, chosen, options, close }: OptionsProps): JSX.Element {
  const [text, setText] = useState('');
  if (typeof options === 'string') return <p className="pop-note">{options}</p>;
  const all = [...new Set([...options, ...chosen])];
  const found = all.filter((option) => option.toLowerCase().includes(text.toLowerCase())).slice(0, SHOWN_MAX);
  const pick = (option: string): void => {
    toggleFilter(variable.name, option, variable.multi);
    if (!variable.multi) close();
  };
  return (
    <>
      {all.length >= SEARCH_FROM && (
        <input type="search" className="search" data-first placeholder={`Search ${variable.title.toLowerCase()}`} aria-label={`Search ${variable.title}`} value={text}
          onChange={(event) => setText(event.target.value)} onKeyDown={(event) => event.key === 'Enter' && found[0] !== undefined && pick(found[0])} />
      )}
      <button type="button" className="item" aria-pressed={chosen.length === 0} onClick={() => { setFilter(variable.name, []); close(); }}>
        <span>All</span>{chosen.length === 0 && <Check />}
      </button>
      {found.map((option) => (
        <button key={option} type="button" className="item" aria-pressed={chosen.includes(option)} onClick={() => pick(option)}>
          <span>{option}</span>{chosen.includes(option) && <Check />}
        </button>
      ))}
      {all.length === 0 && <p className="pop-note">Loading…</p>}
    </>
  );
}
