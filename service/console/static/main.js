// What is shown is where the address points to; it is asked for again every few seconds while somebody can see it.
import { get, key, Refused } from './api.js';
import { askForKey, dialogs } from './dialogs.js';
import { h, patch } from './dom.js';
import { lasting } from './format.js';
import { editor } from './editor.js';
import { experiment } from './experiment.js';
import { health } from './health.js';
import { history } from './history.js';
import { list } from './list.js';
import { why } from './why.js';

const VIEWS = { '': experiment, why, history, edit: editor };
const state = { session: null, route: null, data: null, error: null, at: 0 };
let timer = 0;
let turn = 0;

export function route() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const [kind, name = '', what = ''] = path.split('/').map(decodeURIComponent);
  const asked = new URLSearchParams(query);
  if (kind === 'e' && name && VIEWS[what]) return { view: VIEWS[what], name, what, asked, id: `${what}/${name}` };
  if (kind === 'health') return { view: health, name: '', what: 'health', asked, id: 'health' };
  return { view: list, name: '', what: 'list', asked, id: 'list' };
}

const app = {
  get session() {
    return state.session;
  },
  may: (scope) => Boolean(state.session?.keys && state.session.scopes.includes(scope)),
  redraw: draw,
  look,
  go: (hash) => (location.hash = hash),
};

async function look() {
  clearTimeout(timer);
  const mine = ++turn;
  const { route } = state;
  try {
    const session = await get('session');
    const data = session.keys && !session.scopes.includes('read') ? null : await route.view.load(route, app);
    if (mine !== turn) return;
    Object.assign(state, { session, data, error: null, at: Date.now() });
  } catch (error) {
    if (mine !== turn) return;
    state.error = error;
  }
  draw();
  if (!document.hidden) timer = setTimeout(look, state.error ? 3000 : (state.data?.soon ?? route.view.every));
}

function draw() {
  const { session, data, error, route } = state;
  patch(document.getElementById('top'), top());
  patch(document.getElementById('main'), content(session, data, error, route));
  patch(document.getElementById('dialogs'), dialogs(app));
  document.title = route.name ? `${route.name} · Lever` : route.what === 'health' ? 'Health · Lever' : 'Lever';
}

function content(session, data, error, route) {
  if (session?.keys && !session.scopes.includes('read')) return locked(session);
  if (data) return [h('div', { key: route.id, class: `view view-${route.what || 'experiment'}` }, ...route.view.draw(data, route, app))];
  if (error) return [h('div', { key: 'error', class: 'view' }, ...failed(error))];
  return [h('p', { key: 'loading', class: 'quiet' }, 'Loading…')];
}

function locked(session) {
  const said = !key() ? 'This server asks for an API key.' : session.name || session.scopes.length
    ? 'This key may not read: it needs the scope read.' : 'This server does not know that key.';
  return [
    h('div', { key: 'locked', class: 'view locked' },
      h('h1', {}, said),
      h('p', {}, 'One with the scope ', h('code', {}, 'read'), ' shows everything; with ', h('code', {}, 'admin'), ' too, experiments can be changed here.'),
      h('p', {}, h('button', { class: 'main', onclick: () => askForKey(app) }, 'Enter a key'))),
  ];
}

function failed(error) {
  if (error instanceof Refused && error.status === 404)
    return [h('h1', {}, 'There is no such experiment'), h('p', {}, h('a', { href: '#/' }, 'All experiments'))];
  return [h('h1', {}, 'No answer'), h('p', { class: 'quiet' }, error instanceof Refused ? error.message : 'The server cannot be reached. Trying again.')];
}

function top() {
  const { route, session } = state;
  const here = (what) => (route.what === what || (what === 'list' && route.name) ? 'page' : false);
  return [
    h('a', { class: 'brand', href: '#/', 'aria-label': 'Lever, all experiments' },
      h('svg', { viewBox: '0 0 16 16', width: 18, height: 18, 'aria-hidden': 'true' },
        h('path', { d: 'M1 11.5 15 5.5', class: 'beam' }), h('path', { d: 'M5.6 15 8 9.2 10.4 15Z', class: 'pivot' })),
      h('span', {}, 'Lever')),
    h('nav', { 'aria-label': 'Main' },
      h('a', { href: '#/', 'aria-current': here('list') }, 'Experiments'),
      h('a', { href: '#/health', 'aria-current': here('health') }, 'Health')),
    live(),
    session?.keys
      ? h('button', { class: 'who', key: 'who', onclick: () => askForKey(app) }, session.name || 'Enter a key')
      : session && h('span', { class: 'who quiet', key: 'open', title: 'Served without API keys: nothing can be changed here.' }, 'read only'),
  ];
}

function live() {
  const bad = state.error !== null;
  const old = (Date.now() - state.at) / 1000;
  const said = !state.at ? '' : bad ? `no answer for ${lasting(old)}` : 'live';
  return h('span', { class: `live${bad ? ' bad' : ''}`, key: 'live', role: 'status' }, said);
}

function arrive() {
  const before = state.route?.id;
  state.route = route();
  if (state.route.id !== before) {
    Object.assign(state, { data: null, error: null });
    if (before !== undefined) {
      document.getElementById('main').focus({ preventScroll: true });
      scrollTo(0, 0);
    }
  }
  draw();
  look();
}

addEventListener('hashchange', arrive);
document.addEventListener('visibilitychange', () => (document.hidden ? clearTimeout(timer) : look()));
arrive();
