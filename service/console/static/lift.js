// What the policy earns over the holdout: now, by metric, and over time.
import { axes, chart, frame } from './chart.js';
import { ink } from './colours.js';
import { h } from './dom.js';
import { NONE, number, signed, signedShare, significance, value } from './format.js';

const made = new WeakMap();

export function lifts({ report, past }) {
  const { lifts: told } = report.json;
  if (!told.length) return null;
  return h('section', { key: 'lift', 'aria-labelledby': 'lift' },
    h('h2', { id: 'lift' }, 'Policy over holdout'),
    days(report, past),
    table(report));
}

// The primary metric's difference by the end of each day, inside its confidence sequence.
function days(report, past) {
  if (!past) return null;
  if (!made.has(past.json)) made.set(past.json, drawing(past.json));
  const data = made.get(past.json);
  if (!data) return null;
  const title = `${past.json.metric} per trial beyond the holdout, by the end of each day; the band holds with 95 % for all days at once`;
  return h('figure', { key: 'days', role: 'group', 'aria-label': title }, h('h3', { class: 'quiet' }, title), h('div', { class: 'chart', keep: chart, data }));
}

function drawing(timeline) {
  const told = timeline.lifts.filter((one) => one.metric === timeline.metric && !one.segment && !one.too_early);
  if (told.length < 2) return null;
  const x = told.map((one) => one.to_ms / 1000);
  const column = (name) => told.map((one) => one[name]);
  const shown = (_, found) => (found === null || found === undefined ? '' : signed(found));
  const options = () => frame({
    axes: axes(signed),
    scales: { y: { range: (_, low, high) => [Math.min(low, 0) - 0.05 * (high - low || 1), Math.max(high, 0) + 0.05 * (high - low || 1)] } },
    series: [
      { label: ' ', value: (_, seconds) => (seconds ? new Date(seconds * 1000).toISOString().slice(0, 10) : '') },
      { label: 'difference', stroke: ink('--accent'), width: 2, value: shown, points: { show: x.length < 20 } },
      { label: 'low', stroke: `${ink('--accent')}88`, width: 1, value: shown, points: { show: false } },
      { label: 'high', stroke: `${ink('--accent')}88`, width: 1, value: shown, points: { show: false } },
    ],
    bands: [{ series: [3, 2], fill: `${ink('--accent')}22` }],
    hooks: { draw: [zero] },
  });
  return { shape: 'lift', columns: [x, column('difference'), column('low'), column('high')], options };
}

function zero({ ctx, bbox, valToPos }) {
  const y = Math.round(valToPos(0, 'y', true));
  ctx.save();
  ctx.strokeStyle = ink('--soft');
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.restore();
}

function table(report) {
  const headings = ['Segment', 'Metric', 'Policy', 'Holdout', 'Difference', '95 % at any time', 'Relative', '95 % at any time', 'p'];
  return h('div', { class: 'scroll', key: 'table', tabindex: 0, role: 'region', 'aria-label': 'Policy over holdout' },
    h('table', { class: 'plain numbers lifts' },
      h('thead', {}, h('tr', {}, headings.map((name) => h('th', { scope: 'col' }, name)))),
      h('tbody', {}, report.json.lifts.map((one, place) => row(report, one, place)))));
}

function row(report, one, place) {
  const of = (name, show) => value(report, ['lifts', place, name], show);
  const mean = (sum, trials) => (one[trials] ? h('data', { value: String(one[sum] / one[trials]), 'data-of': `report/lifts/${place}/${sum}`, 'data-over': trials }, number(one[sum] / one[trials])) : NONE);
  const cells = one.too_early
    ? [h('td', { colspan: 5, class: 'early' }, one.too_early)]
    : [
      h('td', {}, of('difference', signed)),
      h('td', {}, of('low', signed), ' to ', of('high', signed)),
      h('td', {}, of('relative', signedShare)),
      h('td', {}, one.relative_low === null || one.relative_high === null ? NONE : [of('relative_low', signedShare), ' to ', of('relative_high', signedShare)]),
      h('td', {}, of('p_value', significance)),
    ];
  return h('tr', { key: `${one.segment}/${one.metric}`, class: one.segment ? '' : 'all' },
    h('th', { scope: 'row' }, one.segment || 'all'), h('td', {}, one.metric),
    h('td', {}, mean('policy_reward_sum', 'policy_trials')), h('td', {}, mean('holdout_reward_sum', 'holdout_trials')), ...cells);
}
