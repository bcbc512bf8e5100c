// The leaderboard of a segment: intervals drawn on one scale, so that what overlaps is seen before any number is read.
import { colours } from './colours.js';
import { h } from './dom.js';
import { NONE, at, chance, count, number, share, signed, value } from './format.js';

export function leaderboard(report, place, data) {
  const segment = report.json.segments[place];
  const rows = segment.arms.map((arm, index) => ({ arm, index }));
  rows.sort((a, b) => rank(b.arm) - rank(a.arm) || b.arm.trials - a.arm.trials || a.index - b.index);
  const scale = extent(segment.arms);
  const tint = colours(report, place);
  const others = segment.arms[0]?.metrics.slice(1).map((one) => one.metric) ?? [];
  const headings = ['Arm', 'Trials', 'Share', 'Observed', 'Expected', axis(scale), 'Best', 'Over the default', ...others];
  return h('div', { class: 'scroll', key: 'leaderboard', tabindex: 0, role: 'region', 'aria-label': `Arms of the segment ${segment.segment}` },
    h('table', { class: 'leaderboard', role: 'table' },
      h('caption', {}, `${report.json.metric} per trial; intervals of 95 %`),
      h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' },
        headings.map((name, index) => h('th', { scope: 'col', role: 'columnheader', class: CLASSES[index] ?? 'other' }, name)))),
      h('tbody', { role: 'rowgroup' }, rows.map(({ arm, index }, order) => row(report, place, arm, index, scale, tint, others, order === 0)))));
}

const CLASSES = ['arm', 'trials', 'share', 'observed', 'expected', 'interval', 'best', 'over'];
const rank = (arm) => arm.probability_best ?? (arm.state === 'active' ? -1 : -2);

function row(report, place, arm, index, scale, tint, others, first) {
  const path = ['segments', place, 'arms', index];
  const of = (name, show = number, props) => value(report, [...path, name], show, props);
  const cell = (name, label, ...what) => h('td', { class: name, role: 'cell', 'data-label': label }, ...what);
  return h('tr', { key: arm.arm, role: 'row', class: `${arm.state !== 'active' ? 'out' : ''}${first && arm.probability_best ? ' first' : ''}` },
    h('th', { scope: 'row', class: 'arm', role: 'rowheader' },
      h('i', { class: `dot ${tint(arm.arm)}`, 'aria-hidden': 'true' }), arm.arm, arm.state !== 'active' && h('span', { class: 'badge' }, arm.state)),
    cell('trials', 'Trials', of('trials', count)),
    cell('share', 'Share', of('traffic_share', share)),
    cell('observed', 'Observed', arm.trials ? of('mean') : NONE),
    cell('expected', 'Expected', of('posterior_mean')),
    cell('interval', 'Interval', interval(arm, scale, tint), h('span', { class: 'ends' }, of('credible_low'), ' to ', of('credible_high'))),
    cell('best', 'Best', meter(arm.probability_best), of('probability_best', (found) => (found === null ? 'too early' : chance(found)))),
    cell('over', 'Over the default', ...effect(report, [...path, 'effect'], arm.effect)),
    others.map((metric, number_) => cell('other', metric, value(report, [...path, 'metrics', number_ + 1, 'mean'], number))));
}

function effect(report, path, found) {
  if (!found) return [h('span', { class: 'quiet' }, 'the default')];
  if (found.too_early) return [h('span', { class: 'quiet', title: found.too_early }, 'too early')];
  return [value(report, [...path, 'low'], signed), ' to ', value(report, [...path, 'high'], signed)];
}

const meter = (found) => found === null ? null : h('svg', { class: 'meter', viewBox: '0 0 100 4', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
  h('rect', { width: 100, height: 4, class: 'bed' }), h('rect', { width: (100 * found).toFixed(2), height: 4, class: 'fill' }));

// From the least to the greatest that is believed of any arm that is shown.
function extent(arms) {
  const told = arms.filter((arm) => arm.credible_low !== null && (arm.trials || arm.probability_best !== null) && arm.credible_high > arm.credible_low);
  if (!told.length) return null;
  const wide = told.filter((arm) => arm.trials >= 30);
  const from = wide.length ? wide : told;
  const low = Math.min(...from.map((arm) => arm.credible_low));
  const high = Math.max(...from.map((arm) => arm.credible_high));
  const room = (high - low) * 0.04 || Math.abs(high) * 0.04 || 1;
  return { low: low - room, high: high + room };
}

function axis(scale) {
  if (!scale) return '95 % interval';
  return h('span', { class: 'axis' }, h('span', {}, number(Math.max(scale.low, 0) === 0 && scale.low < 0 ? 0 : scale.low)), h('span', {}, '95 % interval'), h('span', {}, number(scale.high)));
}

function interval(arm, scale, tint) {
  if (!scale || arm.credible_low === null || !(arm.trials || arm.probability_best !== null)) return null;
  const x = (found) => Math.min(Math.max((100 * (found - scale.low)) / (scale.high - scale.low), 0), 100);
  const [low, mean, high] = [arm.credible_low, arm.posterior_mean, arm.credible_high].map(x);
  return h('svg', { class: `interval ${tint(arm.arm)}`, viewBox: '0 0 100 12', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    h('line', { x1: 0, x2: 100, y1: 6, y2: 6, class: 'bed' }),
    h('rect', { x: low.toFixed(2), width: Math.max(high - low, 0.4).toFixed(2), y: 3, height: 6, class: 'bar' }),
    h('line', { x1: mean.toFixed(2), x2: mean.toFixed(2), y1: 1, y2: 11, class: 'mark' }));
}
