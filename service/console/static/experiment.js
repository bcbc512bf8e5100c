// One experiment: the sentence first, then who leads, by segment, and how it came to be so.
import { get, of } from './api.js';
import { leaderboard } from './arms.js';
import { arriving } from './arriving.js';
import { curves } from './curves.js';
import { show } from './dialogs.js';
import { h } from './dom.js';
import { exclusions } from './exclusions.js';
import { NONE, count, number, plural, share, time, unbroken, value } from './format.js';
import { guardrails } from './guardrails.js';
import { lifts } from './lift.js';
import { badge } from './list.js';
import { overTime } from './overtime.js';

export const experiment = {
  every: 3000,
  async load(route, app) {
    const [found, report] = await Promise.all([get(of(route.name)), get(of(route.name, 'report'))]);
    const place = chosen(report, route);
    const past = place < 0 ? null : await timeline(route, app, report.segments[place].segment);
    return { experiment: found.experiment, tree: found.tree, report: { name: 'report', json: report }, past };
  },
  draw(data, route, app) {
    const { report, experiment } = data;
    const place = chosen(report.json, route);
    return [
      ...heading(experiment, route, app),
      h('p', { class: 'headline' }, h('data', { value: report.json.headline, 'data-of': 'report/headline' }, unbroken(report.json.headline))),
      ...standing(report),
      h('section', { key: 'arms', 'aria-labelledby': 'arms' },
        h('div', { class: 'head' }, h('h2', { id: 'arms' }, 'Arms'), segments(report, place, route, app)),
        place < 0 ? h('p', { class: 'quiet' }, 'Nobody has come yet.') : [
          ...notes(report, place),
          leaderboard(report, place, data),
          curves(report, place, data),
          h('p', { class: 'stop', key: 'stop' }, ...stopping(report, place)),
        ]),
      guardrails(report, place),
      overTime(data, place, route),
      lifts(data),
      arriving(report),
      place >= 0 && totals(report),
      exclusions(report, place, experiment, app),
    ];
  },
};

async function timeline(route, app, segment) {
  try {
    return { name: 'timeline', json: await get(`${of(route.name, 'timeline')}?segment=${encodeURIComponent(segment)}`), again: app.redraw };
  } catch (error) {
    if ([400, 404].includes(error.status)) return null; // the segment is gone
    throw error;
  }
}

// Title, and the ways to the other views of the experiment.
export function heading(one, route, app) {
  const to = (what) => `#/e/${encodeURIComponent(one.name)}${what ? `/${what}` : ''}`;
  const tab = (what, text) => h('a', { key: what || 'report', href: to(what), 'aria-current': route.what === what ? 'page' : false }, text);
  const turn = one.state === 'active' ? 'paused' : one.state === 'paused' ? 'active' : '';
  return [
    h('div', { class: 'title', key: 'title' },
      h('h1', {}, one.name), badge(one.state),
      h('span', { class: 'quiet' }, `version ${one.version}, ${one.algorithm}`),
      app.may('admin') && turn && h('button', { key: 'turn', onclick: () => show(app, { id: 'state', experiment: one, state: turn }) },
        turn === 'paused' ? 'Pause…' : 'Resume…')),
    h('nav', { class: 'tabs', key: 'tabs', 'aria-label': 'Experiment' },
      tab('', 'Report'), tab('why', 'Why'), tab('history', 'History'), tab('edit', app.may('admin') ? 'Edit' : 'Configuration')),
  ];
}

function chosen(report, route) {
  const asked = route.asked.get('segment');
  const found = report.segments.findIndex((one) => one.segment === asked);
  return found >= 0 ? found : report.segments.length ? busiest(report) : -1;
}

const trials = (segment) => segment.arms.reduce((sum, arm) => sum + arm.trials, 0);
const busiest = (report) => report.segments.reduce((best, one, place) => (trials(one) > trials(report.segments[best]) ? place : best), 0);

function segments(report, place, route, app) {
  const all = report.json.segments;
  if (all.length < 2) return null;
  const go = (event) => app.go(`#/e/${encodeURIComponent(route.name)}?segment=${encodeURIComponent(event.target.value)}`);
  return h('label', { class: 'segments', key: 'segments' }, 'Segment ',
    h('select', { onchange: go, value: all[place].segment },
      all.map((one) => h('option', { key: one.segment, value: one.segment }, `${one.segment} · ${plural(trials(one), 'trial')}`))));
}

// What must be known before a number is believed.
function standing(report) {
  const { json } = report;
  const said = [];
  if (json.stale) said.push(h('p', { class: 'notice alarm', key: 'stale' }, 'The store is away: this is the last snapshot.'));
  if (json.sample_ratio?.mismatch)
    said.push(h('p', { class: 'notice alarm', key: 'ratio' }, 'Holdout: ', value(report, ['sample_ratio', 'observed'], share), ' of the trials, where ',
      value(report, ['sample_ratio', 'expected'], share), ' of the subjects are in it. Do not trust the lift before that is explained.'));
  return said;
}

function notes(report, place) {
  const segment = report.json.segments[place];
  const path = ['segments', place];
  const said = [];
  if (segment.served) said.push(h('p', { class: 'notice', key: 'served' }, 'Ended: everybody in this segment is served ', h('b', {}, segment.served), '.'));
  if (segment.outage)
    said.push(h('p', { class: 'notice alarm', key: 'outage' }, h('b', {}, 'Outage. '), 'From ', moments(report, [...path, 'outage', 'from_ms']), ' to ',
      moments(report, [...path, 'outage', 'seen_ms']), ' next to nothing was earned; those trials do not teach.'));
  segment.changes.forEach((change, index) => {
    const at = [...path, 'changes', index];
    said.push(h('p', { class: 'notice note', key: `change-${change.arm}` }, h('b', {}, change.arm), ' changed: since ', moments(report, [...at, 'from_ms']), ' it earns ',
      change.times ? [value(report, [...at, 'times'], (times) => String(Number(times.toPrecision(2)))), ' times what it did.'] : 'differently from some visitors.'));
  });
  if (segment.too_early) said.push(h('p', { class: 'notice', key: 'early' }, 'Too early to say which arm is the best.'));
  return said;
}

const moments = (report, path) => value(report, path, (ms) => time(ms));

function stopping(report, place) {
  const { stop } = report.json.segments[place];
  if (!stop) return [];
  const path = ['segments', place, 'stop'];
  const of = (name, digits = 1) => value(report, [...path, name], (found) => (found === null ? NONE : share(found, digits)));
  if (stop.loss === null) return [h('b', {}, stop.leader), ' leads and is not believed to earn anything.'];
  return [
    h('b', {}, stop.leader), stop.settled ? ' may be shown for good: expected loss ' : ' leads, but go on: showing it for good is expected to lose ',
    of('loss', stop.settled ? 2 : 1), ' of what it earns; with 95 % no more than ', of('remaining'), ' is left to win.',
  ];
}

function totals(report) {
  const cost = report.json.totals.some((one) => one.cost);
  return h('section', { key: 'totals', 'aria-labelledby': 'totals' },
    h('h2', { id: 'totals' }, 'Everyone who came'),
    h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Everyone who came' },
      h('table', { class: 'plain numbers' },
        h('thead', {}, h('tr', {}, ['Chosen by', 'Metric', 'Trials', 'Rewarded', cost && 'Cost', 'Sum', 'Mean'].filter(Boolean).map((name) => h('th', { scope: 'col' }, name)))),
        h('tbody', {}, report.json.totals.map((one, place) => {
          const cell = (name, show) => h('td', {}, value(report, ['totals', place, name], show));
          return h('tr', { key: `${one.group}/${one.metric}` },
            h('th', { scope: 'row' }, one.group), h('td', {}, one.metric),
            cell('trials', count), cell('rewarded', count), cost && cell('cost', number), cell('reward_sum', number), cell('mean', number));
        })))));
}
