// Who was shown and who was believed to be the best, hour by hour or day by day, with what people changed meanwhile.
import { axes, chart, frame, marks } from './chart.js';
import { colours, ink } from './colours.js';
import { h } from './dom.js';
import { chance, moment, plural, share, time, value } from './format.js';

const made = new WeakMap(); // what was computed of a timeline that did not change

export function overTime({ past, report }, place) {
  if (!past || place < 0) return null;
  const { periods } = past.json;
  if (!periods.length) return null;
  const changes = past.json.changes.filter((one) => one.version > 1);
  return h('section', { key: 'time', 'aria-labelledby': 'time' },
    h('h2', { id: 'time' }, 'Over time'),
    periods.length < 2
      ? h('p', { class: 'quiet', key: 'soon' }, `Nothing to compare yet: all trials are of the ${step(periods[0])} that began `, value(past, ['periods', 0, 'start_ms'], (ms) => time(ms)), '.')
      : [drawings(past, report, place, changes), numbers(past, report)],
    changes.length > 0 && h('ol', { class: 'marks', key: 'marks', reversed: true, start: changes.length, 'aria-label': 'Changes, marked in the charts' }, changes.slice(0, 8).map((one) =>
      h('li', { key: one.at_ms }, time(one.at_ms), ` ${one.what}, version ${one.version}, by ${one.by || 'anyone'}`))));
}

const step = (period) => (period.end_ms - period.start_ms > 7200000 ? 'day' : 'hour');

function drawings(past, report, place, changes) {
  if (!made.has(past.json)) made.set(past.json, columns(past.json));
  const { arms, x, shares, best } = made.get(past.json);
  const tint = colours(report, place);
  const shape = arms.map((arm) => `${arm}:${tint(arm)}`).join();
  if (!made.get(past.json).charts?.has(shape)) {
    made.get(past.json).charts = new Map([[shape, { share: stacked(arms, x, shares, tint, changes, shape), best: lines(arms, x, best, tint, changes, shape) }]]);
  }
  const { share: shown, best: believed } = made.get(past.json).charts.get(shape);
  const unit = step(past.json.periods[0]);
  return h('div', { class: 'charts', key: 'charts' },
    h('figure', { role: 'group', 'aria-label': `Share of traffic by ${unit}` }, h('h3', {}, `Share of traffic by ${unit}`), h('div', { class: 'chart', keep: chart, data: shown })),
    h('figure', { role: 'group', 'aria-label': `Chance to be the best by the end of each ${unit}` }, h('h3', {}, `Chance to be the best by the end of each ${unit}`), h('div', { class: 'chart', keep: chart, data: believed })));
}

const ours = (timeline) => timeline.series.map((one, place) => ({ ...one, place })).filter((one) => one.group === 'policy' && one.metric === timeline.metric);

function columns(timeline) {
  const series = ours(timeline);
  series.sort((a, b) => sum(b.trials) - sum(a.trials));
  return {
    arms: series.map((one) => one.arm),
    x: timeline.periods.map((one) => one.start_ms / 1000),
    shares: series.map((one) => one.traffic_share),
    best: series.map((one) => one.probability_best),
  };
}

const sum = (list) => list.reduce((total, one) => total + one, 0);

function stacked(arms, x, shares, tint, changes, shape) {
  const tops = [];
  shares.reduce((below, one) => {
    const top = one.map((found, at) => (found ?? 0) + below[at]);
    tops.push(top);
    return top;
  }, x.map(() => 0));
  const options = () => frame({
    scales: { y: { range: [0, 1] } },
    axes: axes((at) => `${Math.round(100 * at)} %`),
    series: [{ label: ' ', value: when }, ...arms.map((arm, index) => ({
      label: arm, stroke: colour(tint(arm)), width: 1, fill: `${colour(tint(arm))}55`, points: { show: x.length < 3 },
      value: (_, __, ___, at) => (at === null || at === undefined ? '' : share(shares[index][at])),
    }))],
    bands: arms.slice(1).map((_, index) => ({ series: [index + 2, index + 1] })),
    ...marks(changes),
  });
  return { shape: `${shape}/${changes.length}`, columns: [x, ...tops], options };
}

function lines(arms, x, best, tint, changes, shape) {
  const kept = arms.map((arm, index) => ({ arm, list: best[index] })).filter(({ list }) => list.length === x.length);
  const options = () => frame({
    scales: { y: { range: [0, 1] } },
    axes: axes((at) => `${Math.round(100 * at)} %`),
    series: [{ label: ' ', value: when }, ...kept.map(({ arm }) => ({
      label: arm, stroke: colour(tint(arm)), width: tint(arm) === 'grey' ? 1 : 2, points: { show: x.length < 3 },
      value: (_, found) => (found === null || found === undefined ? '' : chance(found)),
    }))],
    ...marks(changes),
  });
  return { shape: `${shape}/${changes.length}`, columns: [x, ...kept.map(({ list }) => list)], options };
}

export const when = (_, seconds) => (seconds === null || seconds === undefined ? '' : moment(1000 * seconds));
const colour = (name) => ink(name === 'grey' ? '--grey' : `--${name}`);

// The same as a table, made once somebody opens it.
let open = false;
function numbers(past, report) {
  const turn = (event) => {
    if (open === event.target.open) return;
    open = event.target.open;
    past.again?.();
  };
  const series = open ? ours(past.json) : [];
  return h('details', { class: 'figures', key: 'numbers', ontoggle: turn },
    h('summary', {}, `The same in numbers: ${plural(past.json.periods.length, step(past.json.periods[0]))}`),
    open && h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Share of traffic and chance to be the best over time' },
      h('table', { class: 'plain numbers' },
        h('thead', {}, h('tr', {}, ['From', 'Arm', 'Trials', 'Share', 'Best'].map((name) => h('th', { scope: 'col' }, name)))),
        h('tbody', {}, past.json.periods.flatMap((period, at) => series.filter((one) => one.trials[at]).map((one) => {
          const of = (name, show) => h('td', {}, value(past, ['series', one.place, name, at], show));
          return h('tr', { key: `${period.start_ms}/${one.arm}` }, h('th', { scope: 'row' }, time(period.start_ms)), h('td', {}, one.arm),
            of('trials', (found) => String(found)), of('traffic_share', share), one.probability_best.length ? of('probability_best', chance) : h('td', {}));
        }))))));
}
