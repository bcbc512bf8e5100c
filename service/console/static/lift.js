// What the policy earns over the holdout: now, by metric, and over time.
import { h } from './dom.js';
import { NONE, number, signed, signedShare, significance, value } from './format.js';

export function lifts({ report }) {
  const { lifts } = report.json;
  if (!lifts.length) return null;
  return h('section', { key: 'lift', 'aria-labelledby': 'lift' },
    h('h2', { id: 'lift' }, 'Policy over holdout'),
    table(report));
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
