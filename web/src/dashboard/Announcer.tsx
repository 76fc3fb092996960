// Tells screen readers the page's numbers at a humane pace: the stats, twice a minute at most, if they changed.

import { type JSX, useEffect, useState } from 'react';
import { Frame, type Row } from '../frames/frame';
import { short } from '../format/number';
import { statValue } from '../panels/Stat';
import type { Definition } from './definition';

const EVERY_MS = 30_000;

export function Announcer({ definition }: { definition: Definition }): JSX.Element {
  const [text, setText] = useState('');
  useEffect(() => {
    const timer = setInterval(() => {
      if (document.hidden) return;
      const said = definition.panels.filter((panel) => panel.chart === 'stat').map((panel) => {
        const drawn = window.__nowcast?.frame(panel.id);
        return drawn ? `${panel.title}: ${short(statValue(Frame.of(drawn.columns, drawn.rows as Row[])), panel.unit)}.` : '';
      });
      setText(said.join(' '));
    }, EVERY_MS);
    return () => clearInterval(timer);
  }, [definition]);
  return <p className="vh" aria-live="polite">{text}</p>;
}
