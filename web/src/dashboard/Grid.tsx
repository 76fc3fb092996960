// Panels in their places: twelve columns on a desk, six-and-twelve on a tablet, one column on a phone.

import { type JSX, useMemo } from 'react';
import { bucketOfQuery } from '../frames/shape';
import { Panel } from '../panels/Panel';
import { useWindow } from '../ui/window';
import type { Definition } from './definition';
import { wallZoom } from './wall';
import { BOTTOM, GAP, gridOf, HEADER, phoneOrder, readingOrder } from './layout';

export function Grid({ definition, wall }: { definition: Definition; wall: boolean }): JSX.Element {
  const { width, height } = useWindow();
  const { panels } = definition;
  const layout = width < 720 ? 'phone' : width < 1080 ? 'tablet' : 'desk';
  const zoom = wall ? wallZoom(width, height) : 1;
  const grid = useMemo(() => gridOf(panels, height / zoom, wall ? -BOTTOM + GAP : HEADER), [panels, height, wall, zoom]);
  const order = layout === 'phone' ? phoneOrder(panels, (panel) => bucketOfQuery(panel.query) > 0) : readingOrder(panels);
  return (
    <div className={`grid grid-${layout}`} style={layout === 'desk' ? { gridTemplateRows: grid.rows, zoom } : undefined}>
      {order.map((panel) => {
        const placed = grid.place.get(panel.id)!;
        const span = panel.chart === 'stat' ? Math.max(4, Math.min(6, panel.at[2])) : panel.at[2] >= 7 ? 12 : 6;
        const style = layout === 'desk' ? { gridColumn: placed.column, gridRow: placed.row } : layout === 'tablet' ? { gridColumn: `span ${span}` } : {};
        return <Panel key={panel.id} panel={panel} definition={definition} style={style} />;
      })}
      {panels.length === 0 && <p className="note">This dashboard has no panels yet. Add a [[panel]] to its file; it appears here when you save.</p>}
    </div>
  );
}
