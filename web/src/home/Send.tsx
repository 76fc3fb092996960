import type { JSX } from 'react';
import { Snippet } from '../ui/Copy';
import { waysToSend } from './ways';

/** The ways to send data, to copy. */
export function Send({ table }: { table?: string }): JSX.Element {
  return (
    <div className="ways">
      {waysToSend(location.origin, table).map(({ title, note, text }) => (
        <section key={title} className="way">
          <h3>{title}</h3>
          <p>{note}</p>
          <Snippet text={text} label={`${title} command`} />
        </section>
      ))}
    </div>
  );
}
