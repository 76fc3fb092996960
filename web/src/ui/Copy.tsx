// Text to take away: shown as it is, copied with one press.

import { type JSX, useEffect, useState } from 'react';
import { Check, Copy as CopyIcon } from './icons';

export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Plain http to another host has no clipboard; a selected text area still works there.
    const area = document.createElement('textarea');
    area.value = text;
    area.className = 'vh';
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}

export function CopyButton({ text, label = 'Copy' }: { text: string; label?: string }): JSX.Element {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return undefined;
    const timer = setTimeout(() => setCopied(false), 1500);
    return () => clearTimeout(timer);
  }, [copied]);
  return (
    <button type="button" className="small" onClick={() => void copyText(text).then(setCopied)}>
      {copied ? <Check /> : <CopyIcon />}
      <span aria-live="polite">{copied ? 'Copied' : label}</span>
    </button>
  );
}

/** A command or a query with its copy button. */
export function Snippet({ text, label }: { text: string; label: string }): JSX.Element {
  return (
    <figure className="snippet">
      <pre tabIndex={0} aria-label={label}><code>{text}</code></pre>
      <CopyButton text={text} />
    </figure>
  );
}
