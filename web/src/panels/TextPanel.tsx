// A note on a dashboard: paragraphs, headings, lists, emphasis, code and links of Markdown; nothing else, no HTML.

import { Fragment, type JSX, type ReactNode } from 'react';

const INLINE = /\*\*(.+?)\*\*|\*(.+?)\*|`(.+?)`|\[(.+?)\]\((https?:\/\/[^)\s]+|\/[^)\s]*)\)/g;

function inline(text: string): ReactNode[] {
  const out: ReactNode[] = [];
  let at = 0;
  for (const found of text.matchAll(INLINE)) {
    out.push(text.slice(at, found.index));
    const [all, strong, em, code, label, href] = found;
    const key = found.index;
    if (strong) out.push(<strong key={key}>{strong}</strong>);
    else if (em) out.push(<em key={key}>{em}</em>);
    else if (code) out.push(<code key={key}>{code}</code>);
    else out.push(<a key={key} href={href} rel="noreferrer">{label}</a>);
    at = found.index + all.length;
  }
  out.push(text.slice(at));
  return out;
}

export function TextPanel({ text }: { text: string }): JSX.Element {
  const blocks = text.trim().split(/\n\s*\n/);
  return (
    <div className="prose">
      {blocks.map((block, i) => {
        const lines = block.split('\n');
        const heading = /^#{1,3}\s+(.*)$/.exec(block);
        if (heading && lines.length === 1) return <h3 key={i}>{inline(heading[1]!)}</h3>;
        if (lines.every((line) => /^\s*[-*]\s+/.test(line))) {
          return <ul key={i}>{lines.map((line, n) => <li key={n}>{inline(line.replace(/^\s*[-*]\s+/, ''))}</li>)}</ul>;
        }
        return <p key={i}>{lines.map((line, n) => <Fragment key={n}>{n > 0 && <br />}{inline(line)}</Fragment>)}</p>;
      })}
    </div>
  );
}
