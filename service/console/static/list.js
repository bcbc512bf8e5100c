// All experiments: what each is worth in a sentence, what goes through it, who leads.
import { get } from './api.js';
import { h } from './dom.js';
import { at, chance, count, plural, unbroken, value } from './format.js';

export const list = {
  every: 4000,
  async load() {
    const all = await get('experiments');
    return { from: { name: 'experiments', json: all }, soon: all.experiments.some((one) => !one.gist) ? 800 : 4000 };
  },
  draw({ from }) {
    const { experiments } = from.json;
    if (!experiments.length)
      return [h('h1', {}, 'No experiments yet'), h('p', {}, 'Create one with ', h('code', {}, 'lever apply FILE'), '.')];
    const order = ['active', 'paused', 'draft', 'ended'];
    const rows = experiments.map((one, place) => ({ one, place }));
    rows.sort((a, b) => order.indexOf(a.one.state) - order.indexOf(b.one.state));
    return [
      h('h1', {}, 'Experiments'),
      h('ul', { class: 'experiments', 'aria-label': 'Experiments' }, rows.map(({ one, place }) => row(from, one, place))),
    ];
  },
};

function row(from, one, place) {
  const path = ['experiments', place, 'gist'];
  return h('li', { key: one.uid, class: `experiment is-${one.state}` },
    h('h2', {}, h('a', { href: `#/e/${encodeURIComponent(one.name)}` }, one.name), badge(one.state), ...alarms(one.gist)),
    one.gist ? h('p', { class: 'sentence' }, value(from, [...path, 'headline'], unbroken)) : h('p', { class: 'sentence quiet' }, 'Its report is being made…'),
    h('p', { class: 'facts' },
      one.gist && traffic(from, path),
      h('span', {}, plural(one.arms.length, 'arm')),
      h('span', {}, one.algorithm),
      one.gist && leaders(from, path)));
}

function traffic(from, path) {
  const totals = at(from, [...path, 'totals']);
  const place = totals.findIndex((total) => total.group === 'policy');
  if (place < 0) return h('span', {}, 'no traffic yet');
  return h('span', {}, value(from, [...path, 'totals', place, 'trials'], count), ' trials');
}

function leaders(from, path) {
  const segments = at(from, [...path, 'segments']);
  const known = segments.map((one, place) => ({ one, place })).filter(({ one }) => one.leader || one.served);
  if (!known.length) return h('span', { class: 'quiet' }, segments.length ? 'too early to say who leads' : '');
  return h('span', { class: 'leaders' }, known.slice(0, 4).map(({ one, place }) =>
    h('span', { key: one.segment, class: 'leader' },
      segments.length > 1 && h('span', { class: 'quiet' }, `${one.segment} `),
      h('b', {}, one.served || one.leader.arm),
      !one.served && [' ', value(from, [...path, 'segments', place, 'leader', 'probability_best'], chance)])),
    known.length > 4 && h('span', { class: 'quiet' }, ` and ${known.length - 4} more`));
}

export const badge = (state) => h('span', { class: `badge is-${state}` }, state);

function alarms(gist) {
  if (!gist) return [];
  const seen = [];
  if (gist.segments.some((one) => one.outage)) seen.push(h('span', { class: 'badge alarm', key: 'outage' }, 'outage'));
  if (gist.segments.some((one) => one.changes.length)) seen.push(h('span', { class: 'badge note', key: 'change' }, 'an arm changed'));
  if (gist.stale) seen.push(h('span', { class: 'badge alarm', key: 'stale' }, 'store away'));
  return seen;
}
