// One panel: its title and menu, and whatever state its data is in. The chart inside is chosen by `chart`; every
// state has the size of the panel, so nothing on the page moves when one gives way to another.

import { type JSX, type ReactNode, useEffect } from 'react';
import { paramsOf, rangeOf } from '../dashboard/address';
import { page, showSql, toggleFilter, toggleTable } from '../dashboard/page';
import { type Definition, type PanelDef, uses } from '../dashboard/definition';
import { noteDrawn } from '../feed/debug';
import { useConnection, useLive } from '../feed/hooks';
import { noteMode } from '../feed/modes';
import type { LiveState } from '../feed/types';
import { clock, lastRange, retitled } from '../format/time';
import { bucketOfQuery, shapeOf } from '../frames/shape';
import { Item, Menu } from '../ui/Menu';
import { More } from '../ui/icons';
import { useStore } from '../ui/store';
import { downloadCsv, toggleFullScreen } from './actions';
import { Bars } from './Bars';
import { Gauge } from './Gauge';
import { Pie } from './Pie';
import { RowsTable } from './RowsTable';
import { Stat } from './Stat';
import { Empty, Failed, Loading } from './states';
import { TableForm } from './TableForm';
import { TextPanel } from './TextPanel';
import { TimeChart } from './TimeChart';

interface Props {
  readonly panel: PanelDef;
  readonly definition: Definition;
  readonly style: React.CSSProperties;
}

/** Charts that this page draws; any other kind is shown as a table, and says so. */
const DRAWN = new Set(['stat', 'line', 'area', 'bar', 'pie', 'gauge', 'table', 'text']);
const NOTHING: readonly string[] = [];

export function Panel({ panel, definition, style }: Props): JSX.Element {
  const filters = useStore(page, (s) => s.filters);
  const zoom = useStore(page, (s) => s.zoom);
  const range = useStore(page, (s) => s.range);
  const zone = useStore(page, (s) => s.zone);
  const asTable = useStore(page, (s) => s.asTable.has(panel.id));
  const params = paramsOf(panel, definition, { filters, zoom, range });
  const path = `${definition.name}/${panel.id}`;
  const silent = panel.chart === 'text' && panel.query === '';
  const direct = definition.source === 'query';
  const stat = panel.chart === 'stat';
  const live = useLive(silent ? null : { target: direct ? { query: panel.query } : { panel: path }, params });
  const compare = useLive(stat && panel.compare && !direct ? { target: { panel: `${path}/compare` }, params } : null);
  const sparkTarget = panel.sparkQuery ? { query: panel.sparkQuery } : { panel: `${path}/spark` };
  const spark = useLive(stat && (panel.sparkQuery || (panel.spark && !direct)) ? { target: sparkTarget, params } : null);
  const connection = useConnection((c) => c.state);
  const { frame } = live;

  // A table panel reports for itself: it draws later than it hears.
  const reports = panel.chart !== 'table' || asTable;
  useEffect(() => {
    if (reports) noteDrawn(panel.id, frame);
  }, [panel.id, frame, reports]);
  useEffect(() => () => noteDrawn(panel.id, null), [panel.id]);
  useEffect(() => noteMode(panel.id, live.mode), [panel.id, live.mode]);

  const away = connection === 'reconnecting' || connection === 'stale';
  const dimmed = live.changing || (away && frame !== null) || (live.phase === 'error' && frame !== null);
  const titleId = `panel-${panel.id}`;
  const follows = uses(panel.query, 'from');
  const shownRange = !follows ? null : zoom ? `${clock(zoom.from, zone)} – ${clock(zoom.to, zone)}` : range === null ? null : lastRange(range).toLowerCase();
  const title = retitled(panel.title, definition.rangeSeconds, shownRange);
  const failed = live.phase === 'error' && live.error;
  return (
    <section className="panel" data-panel={panel.id} data-chart={panel.chart} data-phase={live.phase} data-connection={away ? connection : 'live'}
      role="group" aria-labelledby={titleId} aria-busy={live.phase === 'loading'} tabIndex={0} style={style}>
      <header className="panel-head">
        <h2 id={titleId} title={panel.description}>{title}</h2>
        <Badges live={live} />
        {!silent && <PanelMenu panel={panel} asTable={asTable} />}
      </header>
      <div className={dimmed ? 'panel-body dimmed' : 'panel-body'}>
        {silent ? <TextPanel text={panel.text ?? ''} />
          : failed && !frame ? <Failed error={failed} panel={panel} />
          : !frame ? <Loading chart={bucketOfQuery(panel.query) > 0 ? 'line' : panel.chart} live={live} />
          : asTable || !DRAWN.has(panel.chart)
            ? <AsTable panel={panel} live={live} known={DRAWN.has(panel.chart)} />
            : <Drawn panel={panel} definition={definition} live={live} compare={compare} spark={spark} />}
      </div>
      {failed && frame && <p className="panel-note bad" role="alert" title={failed.hint}>{failed.message}</p>}
    </section>
  );
}

function AsTable({ panel, live, known }: { panel: PanelDef; live: LiveState; known: boolean }): JSX.Element {
  const zone = useStore(page, (s) => s.zone);
  return (
    <>
      {!known && <p className="note">Charts of the kind “{panel.chart}” are not drawn yet; these are the rows.</p>}
      <TableForm title={panel.title} frame={live.frame!} zone={zone} />
    </>
  );
}

interface DrawnProps {
  readonly panel: PanelDef;
  readonly definition: Definition;
  readonly live: LiveState;
  readonly compare: LiveState;
  readonly spark: LiveState;
}

function Drawn({ panel, definition, live, compare, spark }: DrawnProps): ReactNode {
  const zone = useStore(page, (s) => s.zone);
  const wall = useStore(page, (s) => s.wall);
  const zoom = useStore(page, (s) => s.zoom);
  const range = useStore(page, (s) => s.range);
  const chosen = useStore(page, (s) => (panel.filter ? s.filters[panel.filter] ?? NOTHING : NOTHING));
  const frame = live.frame!;
  const { title, unit } = panel;
  const rangeSeconds = rangeOf(panel, definition, { zoom, range });

  if (panel.chart === 'stat') {
    return <Stat title={title} unit={unit} frame={frame} compare={compare.frame} spark={spark.frame} rangeSeconds={rangeSeconds} zoom={uses(panel.query, 'from') ? zoom : null} />;
  }
  if (panel.chart === 'gauge') return <Gauge title={title} unit={unit} frame={frame} min={panel.min} max={panel.max} />;
  if (panel.chart === 'text') return <TextPanel text={frame.length > 0 ? frame.text(frame.shown()[0] ?? 0, 0) : ''} />;
  const timed = shapeOf(frame).time >= 0;
  // Category bars keep their zero rows, so only what never had a row is empty.
  if (frame.length === 0 && !(panel.chart === 'bar' && !timed)) return <Empty panel={panel} />;
  if (panel.chart === 'table') return <RowsTable id={panel.id} title={title} frame={frame} unit={unit} zone={zone} />;
  if (panel.chart === 'pie') return <Pie title={title} unit={unit} frame={frame} />;
  if (timed) {
    const chart = panel.chart as 'line' | 'area' | 'bar';
    return <TimeChart chart={chart} title={title} unit={unit} query={panel.query} frame={frame} rangeSeconds={rangeSeconds} zoom={zoom} zone={zone} wall={wall} />;
  }
  if (panel.chart !== 'bar') return <TableForm title={title} frame={frame} zone={zone} />;
  const variable = definition.variables.find(({ name }) => name === panel.filter);
  return (
    <Bars title={title} unit={unit} frame={frame} selected={variable ? chosen : null} empty={<Empty panel={panel} />}
      onPick={(name) => variable && toggleFilter(variable.name, name, variable.multi)} />
  );
}

function Badges({ live }: { live: LiveState }): JSX.Element {
  return (
    <>
      {live.truncated && <span className="badge" title="The result has more rows than a live query keeps. Narrow the query, or add a LIMIT.">first {live.frame?.length ?? 0} rows</span>}
      {/* A new key begins the delay anew: told is only who shows one and the same version for seconds. */}
      {live.behind && <span key={live.behindAt} className="badge late" title="This query is evaluated anew after changes, and that has not finished for the newest moment.">catching up</span>}
    </>
  );
}

function PanelMenu({ panel, asTable }: { panel: PanelDef; asTable: boolean }): JSX.Element {
  return (
    <Menu label={`Menu of ${panel.title}`} className="quiet panel-more" button={<More />}>
      {(close) => {
        const pick = (act: () => void) => () => {
          close();
          act();
        };
        return (
          <>
            <Item keys="t" onPick={pick(() => toggleTable([panel.id]))}>{asTable ? 'Show as chart' : 'Show as table'}</Item>
            <Item keys="s" onPick={pick(() => showSql(panel.id))}>Query</Item>
            <Item keys="c" onPick={pick(() => downloadCsv(panel.id))}>Download CSV</Item>
            <Item keys="f" onPick={pick(() => toggleFullScreen(panel.id))}>Full screen</Item>
          </>
        );
      }}
    </Menu>
  );
}

