// How soon rewards come in: the share that is in by each age, with its spread; ages on a logarithmic scale.
import { h } from './dom.js';
import { count, share, value } from './format.js';

const WIDE = 1000;
const HIGH = 150;
const [SECOND, MINUTE, HOUR, DAY] = [1000, 60_000, 3_600_000, 86_400_000];
const AGES = [[SECOND, '1 s'], [10 * SECOND, '10 s'], [MINUTE, '1 min'], [10 * MINUTE, '10 min'], [HOUR, '1 h'], [6 * HOUR, '6 h'], [DAY, '1 day'],
  [7 * DAY, '7 days'], [30 * DAY, '30 days'], [180 * DAY, '180 days']];

export function arriving(report) {
  const found = report.json.arrival;
  if (!found) return null;
  const at = found.age_ms.map((ms) => Math.log(Math.max(ms, 8)));
  const x = (log) => (WIDE * (log - at[0])) / (at[at.length - 1] - at[0]);
  const y = (part) => HIGH - (HIGH - 6) * part;
  const points = (name) => found[name].map((part, index) => `${x(at[index]).toFixed(1)} ${y(part).toFixed(1)}`);
  const band = `M${points('high').join('L')}L${points('low').reverse().join('L')}Z`;
  const ticks = AGES.filter(([ms]) => ms >= found.age_ms[0] && ms <= found.age_ms.at(-1)).map(([ms, name]) => ({ name, left: x(Math.log(ms)) / 10 }));
  const of = (name, show) => value(report, ['arrival', name], show);
  return h('section', { key: 'arriving', 'aria-labelledby': 'arriving' },
    h('h2', { id: 'arriving' }, `How soon ${report.json.metric} comes in`),
    h('p', { class: 'quiet' }, 'Half of the rewards are in after ', of('half_ms', lasting), ', ', share(0.9, 0), ' after ', of('most_ms', lasting),
      '; of ', of('rewards', count), ' rewards, the band holds the truth with 95 %.'),
    h('figure', { class: 'curves', key: 'curve' },
      h('svg', { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
        [0.5, 1].map((part) => h('path', { key: `at-${part}`, class: 'rule', d: `M0 ${y(part)}H${WIDE}` })),
        h('g', { key: 'curve', class: 'curve c0' }, h('path', { d: band, class: 'area' }), h('path', { d: `M${points('share').join('L')}`, class: 'line' }))),
      h('div', { class: 'ticks', 'aria-hidden': 'true' }, ticks.map((tick) => h('span', { key: tick.name, left: `${tick.left.toFixed(2)}%` }, tick.name)))));
}

// As `lever report` writes it: 40 s, 12 min, 5 h, 2.1 days.
function lasting(ms) {
  const [size, unit] = [[DAY, 'days'], [HOUR, 'h'], [MINUTE, 'min'], [SECOND, 's']].find(([one]) => ms >= 1.5 * one) ?? [1, 'ms'];
  return `${ms < 10 * size ? Number((ms / size).toPrecision(2)) : Math.round(ms / size)} ${unit}`;
}
