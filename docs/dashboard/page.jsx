// Draws the panels of a Grafana dashboard with Grafana's own components, from the answers that stand in it.
import React from 'react';
import { createRoot } from 'react-dom/client';
import board from 'board';

// Their CommonJS form: the other one imports packages in a way that only webpack makes work.
const { createTheme, dateTime, FieldColorModeId, FieldType, getDisplayProcessor, ThresholdsMode } = require('@grafana/data');
const { BigValue, GlobalStyles, PanelChrome, Table, ThemeContext, TimeSeries } = require('@grafana/ui');

const theme = createTheme({ colors: { mode: 'dark' } });
const [WIDTH, ROW, GAP] = [1600, 38, 8];
const CURVE = {
  drawStyle: 'line', lineInterpolation: 'linear', lineWidth: 1, fillOpacity: 0, showPoints: 'auto', pointSize: 5,
  axisPlacement: 'auto', axisColorMode: 'text', scaleDistribution: { type: 'linear' }, spanNulls: false,
  stacking: { mode: 'none', group: 'A' }, hideFrom: { legend: false, tooltip: false, viz: false }, thresholdsStyle: { mode: 'off' },
};
const THRESHOLDS = { mode: ThresholdsMode.Absolute, steps: [{ value: -Infinity, color: 'green' }, { value: 80, color: 'red' }] };

const named = (legend, labels) =>
  legend ? legend.replace(/{{\s*(\w+)\s*}}/g, (_, label) => labels[label] ?? '') :
  `${labels.__name__ ?? ''}{${Object.entries(labels).filter(([k]) => k !== '__name__').map(([k, v]) => `${k}="${v}"`).join(', ')}}`;

function field(panel, name, values, index, mode) {
  const { defaults } = panel.fieldConfig;
  const thresholds = defaults.thresholds
    ? { ...defaults.thresholds, steps: defaults.thresholds.steps.map((s) => ({ ...s, value: s.value ?? -Infinity })) }
    : THRESHOLDS;
  const config = { color: { mode }, ...defaults, thresholds, displayName: name, custom: { ...CURVE } };
  const numbers = values.filter((value) => value !== null);
  const [min, max] = [Math.min(...numbers), Math.max(...numbers)];
  const state = { seriesIndex: index, displayName: name, range: { min, max, delta: max - min } };
  const made = { name, type: FieldType.number, config, values, state };
  return { ...made, display: getDisplayProcessor({ field: made, theme, timeZone: 'utc' }) };
}

function timeField(values) {
  const made = { name: 'Time', type: FieldType.time, config: { custom: {} }, values };
  return { ...made, display: getDisplayProcessor({ field: made, theme, timeZone: 'utc' }) };
}

function frames(panel, mode = FieldColorModeId.PaletteClassic) {
  return panel.answers
    .flatMap(({ legend, result }) => result.map((series) => ({ legend, series })))
    .map(({ legend, series }, index) => ({
      length: series.values.length,
      fields: [
        timeField(series.values.map(([t]) => t * 1000)),
        field(panel, named(legend, series.metric), series.values.map(([, v]) => (v === 'NaN' ? null : Number(v))), index, mode),
      ],
    }));
}

function Stat({ panel, width, height }) {
  const [frame] = frames(panel, FieldColorModeId.Thresholds);
  if (!frame) return <span>No data</span>;
  const [x, y] = frame.fields;
  return (
    <BigValue value={y.display(y.values.at(-1))} colorMode="value" graphMode="area" justifyMode="auto" textMode="value"
      sparkline={{ x, y }} theme={theme} width={width} height={height} />
  );
}

function Curves({ panel, width, height }) {
  const range = { from: dateTime(board.begin), to: dateTime(board.end) };
  const legend = { displayMode: 'list', placement: 'bottom', showLegend: true, calcs: [] };
  const all = frames(panel);
  if (!all.length) return <span>No data</span>;
  return (
    <TimeSeries frames={all} structureRev={1} timeRange={{ ...range, raw: range }} timeZone="utc" width={width} height={height}
      legend={legend} options={{}} />
  );
}

function Rows({ panel, width, height }) {
  const last = panel.answers.flatMap(({ result }) => result);
  const labels = [...new Set(last.flatMap(({ metric }) => Object.keys(metric)))];
  const plain = (name, values) => {
    const made = { name, type: FieldType.string, config: { custom: {} }, values, state: {} };
    return { ...made, display: getDisplayProcessor({ field: made, theme }) };
  };
  const sorted = last.sort((a, b) => b.values.at(-1)[1] - a.values.at(-1)[1]);
  const data = {
    length: sorted.length,
    fields: [
      timeField(sorted.map(({ values }) => values.at(-1)[0] * 1000)),
      ...labels.map((label) => plain(label, sorted.map(({ metric }) => metric[label] ?? ''))),
      field(panel, 'Value', sorted.map(({ values }) => Number(values.at(-1)[1])), 0, FieldColorModeId.Thresholds),
    ],
  };
  return <Table data={data} width={width} height={height} />;
}

const KINDS = { stat: Stat, timeseries: Curves, table: Rows };

function Panel({ panel }) {
  const { x, y, w, h } = panel.gridPos;
  const unit = WIDTH / 24;
  const [width, height] = [w * unit - GAP, h * ROW - GAP];
  const Kind = KINDS[panel.type];
  return (
    <div style={{ position: 'absolute', left: x * unit + GAP / 2, top: y * ROW + GAP / 2, width, height }}>
      <PanelChrome title={panel.title} width={width} height={height}>
        {(innerWidth, innerHeight) => <Kind panel={panel} width={innerWidth} height={innerHeight} />}
      </PanelChrome>
    </div>
  );
}

createRoot(document.getElementById('root')).render(
  <ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <div style={{ background: theme.colors.background.canvas, position: 'absolute', inset: 0 }}>
      {board.panels.map((panel) => <Panel key={panel.id} panel={panel} />)}
    </div>
  </ThemeContext.Provider>,
);
