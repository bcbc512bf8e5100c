// Who changed what and when; what each change changed.
import { get, of } from './api.js';
import { h } from './dom.js';
import { heading } from './experiment.js';
import { time } from './format.js';

export const history = {
  every: 5000,
  async load(route) {
    const [found, past] = await Promise.all([get(of(route.name)), get(of(route.name, 'history'))]);
    return { ...found, past };
  },
  draw({ experiment, past }, route, app) {
    const { events } = past;
    return [
      ...heading(experiment, route, app),
      h('h2', { key: 'heading' }, 'Who changed what'),
      h('ol', { class: 'events', key: 'events' }, events.map((one, place) => event(one, before(events, place)))),
      !events.length && h('p', { class: 'quiet', key: 'none' }, 'Nothing is kept of its past.'),
    ];
  },
};

// The configuration that this event replaced, as far as that is kept.
const before = (events, place) => events.slice(place + 1).find((one) => one.config && one.version === events[place].version - 1);

function event(one, old) {
  return h('li', { key: `${one.at_ms}/${one.what}/${one.version}` },
    h('p', {}, time(one.at_ms), ' ', h('b', {}, one.what), one.version > 0 && ` version ${one.version}`, ' by ', h('b', {}, one.by || 'anyone'), one.detail && h('span', { class: 'quiet' }, ` ${one.detail}`)),
    one.config && h('details', {},
      h('summary', {}, old ? 'What changed' : 'The configuration'),
      h('pre', { tabindex: 0 }, old ? difference(old.config.split('\n'), one.config.split('\n')) : one.config)));
}

// Lines that went and came, with two lines around them. The longest common subsequence; configurations are short.
function difference(old, made) {
  let start = 0;
  while (start < old.length && start < made.length && old[start] === made[start]) start++;
  let end = 0;
  while (end < old.length - start && end < made.length - start && old.at(-1 - end) === made.at(-1 - end)) end++;
  const [a, b] = [old.slice(start, old.length - end), made.slice(start, made.length - end)];
  const lines = [
    ...old.slice(Math.max(start - 2, 0), start).map((text) => [' ', text]),
    ...(a.length * b.length > 4e6 ? [...a.map((text) => ['-', text]), ...b.map((text) => ['+', text])] : between(a, b)),
    ...old.slice(old.length - end, old.length - end + 2).map((text) => [' ', text]),
  ];
  return lines.map(([sign, text]) => h('span', { class: sign === '+' ? 'came' : sign === '-' ? 'went' : '' }, `${sign} ${text}\n`));
}

function between(a, b) {
  const long = Array.from({ length: a.length + 1 }, () => new Uint32Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--) long[i][j] = a[i] === b[j] ? long[i + 1][j + 1] + 1 : Math.max(long[i + 1][j], long[i][j + 1]);
  const lines = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) (lines.push([' ', a[i]]), i++, j++);
    else if (j < b.length && (i === a.length || long[i][j + 1] > long[i + 1][j])) lines.push(['+', b[j++]]);
    else lines.push(['-', a[i++]]);
  }
  return lines;
}
