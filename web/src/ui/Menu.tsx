// A button that opens something small: a menu of actions, a list to choose from, a note. Esc and a press outside
// close it, and focus goes back to the button. Inside, arrow keys move between what can be pressed.

import { type JSX, type KeyboardEvent, type ReactNode, useEffect, useId, useRef, useState } from 'react';

interface Props {
  readonly label: string;
  readonly button: ReactNode;
  readonly className?: string;
  readonly align?: 'left' | 'right';
  readonly role?: 'menu' | 'dialog';
  readonly onOpen?: () => void;
  readonly children: (close: () => void) => ReactNode;
}

export function Menu({ label, button, className = '', align = 'right', role = 'menu', onOpen, children }: Props): JSX.Element {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const trigger = useRef<HTMLButtonElement>(null);
  const id = useId();

  useEffect(() => {
    if (!open) return undefined;
    const outside = (event: PointerEvent): void => {
      if (!root.current?.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener('pointerdown', outside);
    root.current?.querySelector<HTMLElement>('.pop [data-first], .pop button, .pop input, .pop a')?.focus();
    return () => document.removeEventListener('pointerdown', outside);
  }, [open]);

  const close = (): void => {
    setOpen(false);
    trigger.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (!open) return;
    if (event.key === 'Escape') {
      event.stopPropagation();
      close();
    } else if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      const items = [...(root.current?.querySelectorAll<HTMLElement>('.pop button, .pop input, .pop a') ?? [])];
      if (items.length === 0) return;
      event.preventDefault();
      const at = items.indexOf(document.activeElement as HTMLElement);
      items[(at + (event.key === 'ArrowDown' ? 1 : -1) + items.length) % items.length]?.focus();
    } else if (!event.ctrlKey && !event.metaKey && !event.altKey) {
      event.stopPropagation(); // letters typed here are not the page's keys
    }
  };
  const toggle = (): void => {
    if (!open) onOpen?.();
    setOpen(!open);
  };

  return (
    <div className="menu" ref={root} onKeyDown={onKeyDown}>
      <button ref={trigger} type="button" className={className} aria-label={label} title={label} aria-haspopup={role}
        aria-expanded={open} aria-controls={open ? id : undefined} onClick={toggle}>
        {button}
      </button>
      {open && <div id={id} className={`pop pop-${align}`} role={role} aria-label={label}>{children(close)}</div>}
    </div>
  );
}

export function Item({ onPick, keys, children }: { onPick: () => void; keys?: string; children: ReactNode }): JSX.Element {
  return (
    <button type="button" role="menuitem" className="item" onClick={onPick}>
      <span>{children}</span>
      {keys && <kbd>{keys}</kbd>}
    </button>
  );
}
