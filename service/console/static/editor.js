// The configuration; with an admin key it can be changed here. Errors are those of `lever apply`, by line.
import { get, of, post } from './api.js';
import { h } from './dom.js';
import { heading } from './experiment.js';

const draft = { name: '', text: '', version: 0, failure: null, done: null, busy: false };

export const editor = {
  every: 5000,
  async load(route) {
    const found = await get(of(route.name));
    const untouched = draft.text === draft.from;
    if (draft.name !== route.name || untouched) {
      const same = draft.name === route.name;
      Object.assign(draft, { name: route.name, text: found.experiment.config, from: found.experiment.config, version: found.experiment.version });
      if (!same) Object.assign(draft, { failure: null, done: null });
    }
    return found;
  },
  draw({ experiment }, route, app) {
    const writable = app.may('admin');
    return [
      ...heading(experiment, route, app),
      h('h2', { key: 'heading' }, writable ? 'Edit the configuration' : 'Configuration'),
      writable && draft.version !== experiment.version && h('p', { class: 'notice alarm', role: 'alert', key: 'conflict' },
        `Somebody applied version ${experiment.version} meanwhile; you are editing version ${draft.version}. `,
        h('button', { type: 'button', onclick: () => { draft.text = draft.from; app.look(); } }, 'Take theirs')),
      ...experiment.warnings.map((said) => h('p', { class: 'notice', key: said }, said)),
      writable ? form(app) : h('pre', { key: 'config', tabindex: 0 }, experiment.config),
      !writable && h('p', { class: 'quiet', key: 'how' }, 'To change it here, serve with ', h('code', {}, '--keys-file'), ' and enter a key with the scope ', h('code', {}, 'admin'), '. In a terminal: ', h('code', {}, 'lever apply FILE'), '.'),
    ];
  },
};

function form(app) {
  const wrong = draft.failure?.fields ?? [];
  const area = () => document.getElementById('config');
  const apply = async (event) => {
    event?.preventDefault();
    Object.assign(draft, { busy: true, failure: null, done: null });
    app.redraw();
    try {
      const { experiment, changed } = await post('apply', { config: draft.text, expected_version: draft.version });
      Object.assign(draft, { from: experiment.config, text: experiment.config, version: experiment.version, done: changed ? `Version ${experiment.version} is in force.` : 'Nothing was different.' });
    } catch (error) {
      draft.failure = error;
    }
    draft.busy = false;
    app.look();
  };
  const lines = new Set(wrong.map((one) => one.line));
  const rows = draft.text.split('\n').length;
  return h('form', { onsubmit: apply, key: 'form', class: 'editor' },
    h('div', { class: 'sheet' },
      h('pre', { class: 'gutter', 'aria-hidden': 'true' }, Array.from({ length: rows }, (_, at) => h('span', { class: lines.has(at + 1) ? 'wrong' : '' }, `${at + 1}\n`))),
      h('textarea', {
        id: 'config', 'aria-label': 'Configuration, YAML or JSON', spellcheck: 'false', wrap: 'off', rows: rows + 1, value: draft.text,
        'aria-invalid': draft.failure ? 'true' : false, 'aria-describedby': 'said',
        oninput: (event) => { draft.text = event.target.value; app.redraw(); },
        onkeydown: (event) => { if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) apply(event); },
      })),
    h('div', { id: 'said', 'aria-live': 'polite' },
      draft.failure && (wrong.length
        ? h('ul', { class: 'wrongs', key: 'wrongs' }, wrong.map((one) => h('li', {}, one.line
          ? h('button', { type: 'button', class: 'line', onclick: () => jump(area(), one.line) }, `line ${one.line}`) : null, ' ', h('code', {}, one.field), `: ${one.message}`)))
        : h('p', { class: 'bad', key: 'bad' }, draft.failure.message)),
      draft.done && h('p', { class: 'good', key: 'done' }, draft.done)),
    h('p', { class: 'buttons' },
      h('button', { class: 'main', type: 'submit', disabled: draft.busy || draft.text === draft.from }, 'Apply'),
      h('button', { type: 'button', disabled: draft.text === draft.from, onclick: () => { draft.text = draft.from; Object.assign(draft, { failure: null }); app.redraw(); } }, 'Discard'),
      h('span', { class: 'quiet' }, 'Checked as a whole; nothing that was learned is forgotten. Ctrl+Enter applies.')));
}

function jump(area, line) {
  const lines = area.value.split('\n');
  const start = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0);
  area.focus();
  area.setSelectionRange(start, start + lines[line - 1].length);
}
