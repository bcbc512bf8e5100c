// What is believed of each arm's mean, as densities on one axis: narrow and high where much is known.
import { fitted, logDensity } from './beta.js';
import { colours } from './colours.js';
import { h } from './dom.js';
import { number } from './format.js';
import { range } from './range.js';

const WIDE = 1000;
const HIGH = 160;
const POINTS = 160;
const SHOWN = 7;
const drawn = new WeakMap(); // by segment of a report: a report that did not change is not computed again

export function curves(report, place, { tree }) {
  const segment = report.json.segments[place];
  if (!drawn.has(segment)) drawn.set(segment, made(report.json, segment, tree));
  const found = drawn.get(segment);
  if (!found) return null;
  const tint = colours(report, place);
  const leaders = found.lines.filter(({ arm }) => tint(arm) !== 'grey');
  return h('figure', { class: 'curves', key: 'curves' },
    h('svg', { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': `What is believed of ${leaders.map((one) => one.arm).join(', ')}; the numbers are in the table above` },
      found.lines.map(({ arm, path }) => h('g', { key: arm, class: `curve ${tint(arm)}` }, h('path', { d: `${path}V${HIGH}H0Z`, class: 'area' }), h('path', { d: path, class: 'line' })))),
    h('div', { class: 'ticks', 'aria-hidden': 'true' }, found.ticks.map((tick) => h('span', { key: tick.at, left: `${tick.x}%` }, number(tick.at)))),
    h('figcaption', {}, `What is believed of ${report.json.metric} per trial: `,
      leaders.map(({ arm }) => h('span', { key: arm, class: 'key' }, h('i', { class: `dot ${tint(arm)}` }), arm))));
}

function made(report, segment, tree) {
  const [least, most] = range(tree, report.metric);
  const span = most - least;
  const told = segment.arms.filter((arm) => arm.trials > 0 && arm.credible_low !== null && arm.probability_best !== null);
  told.sort((a, b) => b.probability_best - a.probability_best || b.trials - a.trials);
  const beliefs = told.slice(0, SHOWN).map((arm) => ({ arm, ...fitted((arm.posterior_mean - least) / span, (arm.credible_low - least) / span, (arm.credible_high - least) / span) }));
  const known = beliefs.filter((one) => one.a);
  if (!known.length) return null;
  const low = Math.max(least, Math.min(...known.map(({ arm }) => arm.credible_low - 0.7 * (arm.posterior_mean - arm.credible_low))));
  const high = Math.min(most, Math.max(...known.map(({ arm }) => arm.credible_high + 0.7 * (arm.credible_high - arm.posterior_mean))));
  const x = (at) => (100 * (at - low)) / (high - low);
  const lines = known.map(({ arm, a, b }) => ({ arm: arm.arm, density: densities(a, b, (low - least) / span, (high - least) / span) }));
  // The root of a density: a sure arm does not press the others into the ground.
  const top = Math.sqrt(Math.max(...lines.flatMap((one) => one.density)));
  const path = (density) => density.map((found, index) => `${index ? 'L' : 'M'}${((WIDE * index) / POINTS).toFixed(1)} ${(HIGH - (HIGH - 8) * (Math.sqrt(found) / top)).toFixed(1)}`).join('');
  return { lines: lines.map((one) => ({ arm: one.arm, path: path(one.density) })), ticks: ticks(low, high).map((at) => ({ at, x: x(at).toFixed(2) })).filter((tick) => tick.x > 2 && tick.x < 98) };
}

function densities(a, b, low, high) {
  return Array.from({ length: POINTS + 1 }, (_, index) => {
    const at = low + ((high - low) * index) / POINTS;
    return at <= 0 || at >= 1 ? 0 : Math.exp(logDensity(at, a, b));
  });
}

export function ticks(low, high, about = 8) {
  const raw = (high - low) / about;
  const size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((one) => one * size).find((one) => one >= raw);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) found.push(Math.abs(at) < step * 1e-9 ? 0 : at);
  return found;
}
