// How the server is: the same sums as /metrics.
import { get } from './api.js';
import { h } from './dom.js';
import { count, lasting, value } from './format.js';

export const health = {
  every: 3000,
  async load() {
    return { from: { name: 'health', json: await get('health') } };
  },
  draw({ from }) {
    const { json } = from;
    return [
      h('h1', {}, 'Health'),
      h('p', { class: `verdict ${json.ready ? 'good' : 'bad'}` }, json.ready ? 'Choices are answered.' : 'Choices are not answered.'),
      ...json.lines.map((line) => h('p', { key: line, class: 'quiet' }, line)),
      h('dl', { class: 'tiles' }, ...server(from)),
      h('h2', {}, 'Experiments'),
      experiments(from),
    ];
  },
};

const samples = (from, family) => (from.json.families[family] ?? []).map((one, place) => ({ ...one, path: ['families', family, place, 'value'] }));

function server(from) {
  const store = samples(from, 'lever_store_up')[0];
  const flush = samples(from, 'lever_flush_age_seconds')[0];
  const workers = samples(from, 'lever_worker_ready');
  const build = samples(from, 'lever_build_info')[0];
  const tile = (name, ...what) => h('div', { key: name }, h('dt', {}, name), h('dd', {}, ...what));
  return [
    tile('Store', store ? value(from, store.path, (up) => (up ? 'reached' : 'away'), { class: store.value ? 'good' : 'bad' }) : '–'),
    tile('Last flush', flush ? [value(from, flush.path, lasting), ' ago'] : '–'),
    tile('Processes', `${workers.filter((one) => one.value).length} of ${workers.length} ready`),
    tile('Version', build?.labels.version ?? '–'),
    ...(samples(from, 'lever_store_evicts')[0]?.value ? [tile('Eviction', h('span', { class: 'bad' }, 'the store may evict records'))] : []),
  ];
}

function experiments(from) {
  const names = [...new Set(samples(from, 'lever_snapshot_age_seconds').map((one) => one.labels.experiment))].sort();
  if (!names.length) return h('p', { class: 'quiet' }, 'None yet.');
  const columns = ['Experiment', 'Snapshot', 'Checkpoint', 'Rewards by outcome', 'Now'];
  return h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Health of the experiments' },
    h('table', { class: 'plain' },
      h('thead', {}, h('tr', {}, columns.map((name) => h('th', { scope: 'col' }, name)))),
      h('tbody', {}, names.map((name) => row(from, name)))));
}

function row(from, name) {
  const of = (family) => samples(from, family).filter((one) => one.labels.experiment === name);
  const age = (family) => (of(family)[0] ? [value(from, of(family)[0].path, lasting), ' ago'] : '–');
  const outcomes = of('lever_rewards').filter((one) => one.value > 0);
  outcomes.sort((a, b) => b.value - a.value || (a.labels.outcome < b.labels.outcome ? -1 : 1));
  return h('tr', { key: name },
    h('th', { scope: 'row' }, h('a', { href: `#/e/${encodeURIComponent(name)}` }, name)),
    h('td', {}, age('lever_snapshot_age_seconds')),
    h('td', {}, age('lever_checkpoint_age_seconds')),
    h('td', {}, outcomes.length ? outcomes.map((one, place) => [
      place ? ', ' : '', value(from, one.path, count), ` ${word(one.labels.outcome)}`]) : h('span', { class: 'quiet' }, 'none')),
    h('td', {}, ...trouble(of)));
}

const word = (outcome) => outcome.toLowerCase().replaceAll('_', ' ');

function trouble(of) {
  const said = [];
  const note = (family, text, kind) => of(family).some((one) => one.value > 0) && said.push(h('span', { key: family, class: `badge ${kind}` }, text));
  note('lever_outage', 'outage', 'alarm');
  note('lever_changes', 'an arm changed', 'note');
  note('lever_guardrail_paused', 'a guardrail paused an arm', 'note');
  note('lever_divergence', 'servers disagree', 'alarm');
  note('lever_lost', 'lost by the store', 'alarm');
  note('lever_unreadable', 'damaged', 'alarm');
  note('lever_log_ends_lost', 'the end of the log was lost', 'alarm');
  note('lever_trials_dropped', 'trials were dropped', 'alarm');
  return said.length ? said : [h('span', { class: 'quiet' }, 'nothing unusual')];
}
