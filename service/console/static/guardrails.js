// Guardrails: what each has seen of each arm that it watches, over all segments; what is beyond its bound is paused.
import { h } from './dom.js';
import { NONE, count, number, signedShare, value } from './format.js';

const SAID = { max: 'at most', max_drop: 'at most so much below the holdout', max_rise: 'at most so much above the holdout' };

export function guardrails(report) {
  const { guardrails: told } = report.json;
  if (!told?.length) return null;
  const paused = told.filter((one) => one.state === 'paused');
  const order = { paused: 0, 'too early': 2, holding: 1 };
  const rows = told.map((one, place) => ({ one, place })).sort((a, b) => order[a.one.state] - order[b.one.state] || a.place - b.place);
  return h('section', { key: 'guardrails', 'aria-labelledby': 'guardrails' },
    h('h2', { id: 'guardrails' }, 'Guardrails'),
    paused.map((one) => h('p', { class: 'notice alarm', key: `${one.metric}/${one.arm}` }, h('b', {}, one.arm), ` is paused by the guardrail of ${one.metric}.`)),
    h('div', { class: 'scroll', key: 'table', tabindex: 0, role: 'region', 'aria-label': 'Guardrails' },
      h('table', { class: 'plain numbers' },
        h('thead', {}, h('tr', {}, ['Arm', 'Metric', 'Bound', 'Trials', 'Estimate', 'At any time', 'State'].map((name) => h('th', { scope: 'col' }, name)))),
        h('tbody', {}, rows.map(({ one, place }) => row(report, one, place))))));
}

function row(report, one, place) {
  const show = one.kind === 'max' ? number : signedShare;
  const of = (name, shown = show) => value(report, ['guardrails', place, name], shown);
  return h('tr', { key: `${one.metric}/${one.kind}/${one.arm}` },
    h('th', { scope: 'row' }, one.arm), h('td', {}, one.metric),
    h('td', { title: SAID[one.kind] }, `${one.kind.replace('_', ' ')} `, of('limit', one.kind === 'max' ? number : (found) => `${Number((100 * found).toPrecision(3))} %`)),
    h('td', {}, of('trials', count)), h('td', {}, of('estimate')),
    h('td', {}, one.low === null && one.high === null ? NONE : [of('low'), ' to ', of('high')]),
    h('td', {}, h('span', { class: `badge ${one.state === 'paused' ? 'alarm' : one.state === 'holding' ? 'is-active' : ''}` }, one.state)));
}
