// The parts of Apache ECharts that time charts need, and no more; loaded when the first chart is shown.

import { BarChart, LineChart } from 'echarts/charts';
import { AxisPointerComponent, GridComponent, TooltipComponent } from 'echarts/components';
import * as echarts from 'echarts/core';
import { CanvasRenderer } from 'echarts/renderers';

echarts.use([BarChart, LineChart, GridComponent, TooltipComponent, AxisPointerComponent, CanvasRenderer]);

export { echarts };
export type Chart = ReturnType<typeof echarts.init>;
