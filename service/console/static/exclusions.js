// Data that was taken back; with an admin key more of it, or less.
import { show } from './dialogs.js';
import { h } from './dom.js';
import { count, time, value } from './format.js';

const HOUR = 3600000;

export function exclusions(report, place, experiment, app) {
  const told = report.json.exclusions ?? [];
  const may = app.may('admin');
  if (!told.length && !may) return null;
  const outage = report.json.segments[place]?.outage;
  const now = Math.floor(Date.now() / HOUR) * HOUR;
  const [from, to] = outage ? [outage.from_ms, outage.seen_ms + 60000] : [now - HOUR, now];
  return h('section', { key: 'exclusions', 'aria-labelledby': 'exclusions' },
    h('div', { class: 'head' }, h('h2', { id: 'exclusions' }, 'Excluded data'),
      may && h('button', { key: 'more', onclick: () => show(app, { id: 'exclude', experiment, from, to }) }, 'Exclude…')),
    !told.length && h('p', { class: 'quiet', key: 'none' }, 'Nothing is excluded.'),
    h('ul', { class: 'excluded', key: 'list' }, told.map((one, index) => {
      const path = ['exclusions', index];
      return h('li', { key: one.number },
        value(report, [...path, 'from_ms'], (ms) => time(ms)), ' to ', value(report, [...path, 'to_ms'], (ms) => time(ms)), ', ',
        one.arms.length ? one.arms.join(', ') : 'all arms', ': ', value(report, [...path, 'trials'], count), ' trials do not count',
        may && h('button', { onclick: () => show(app, { id: 'include', experiment, number: one.number }) }, 'Take back…'));
    })));
}
