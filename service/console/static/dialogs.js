// Dialogs: the browser's own, so that focus stays in them and Escape closes them.
import { key, post, useKey, of } from './api.js';
import { h, patch } from './dom.js';

let open = null; // {id, …}: the dialog that is asked for
let failure = null;

export function show(app, dialog) {
  open = dialog;
  failure = null;
  app.redraw();
}

export const askForKey = (app) => show(app, { id: 'key' });

export function dialogs(app) {
  if (!open) return [];
  const content = open.id === 'key' ? keyForm(app) : open.id === 'state' ? stateForm(app, open) : open.id === 'exclude' ? excludeForm(app, open) : includeForm(app, open);
  return [h('dialog', { key: open.id, keep: modal, data: { content, closed: () => close(app) }, 'aria-labelledby': 'dialog-title' })];
}

export function close(app) {
  open = null;
  failure = null;
  app.redraw();
}

export async function attempt(app, act) {
  failure = null;
  try {
    await act();
    close(app);
    await app.look();
  } catch (error) {
    failure = error;
    app.redraw();
  }
}

const modal = {
  make(node, data) {
    modal.update(node, data, node);
    queueMicrotask(() => node.isConnected && !node.open && node.showModal());
    return node;
  },
  update(_, data, node) {
    node.onclose = data.closed;
    patch(node, data.content);
  },
};

export const complaint = (error) => error && h('p', { class: 'bad', role: 'alert', key: 'complaint' }, error.message);

function keyForm(app) {
  const use = (event) => {
    event.preventDefault();
    useKey(event.target.elements.key.value.trim());
    close(app);
    app.look();
  };
  return [
    h('form', { onsubmit: use, key: 'form' },
      h('h2', { id: 'dialog-title' }, 'API key'),
      h('p', {}, 'Kept in this tab until it is closed, and sent to this server alone.'),
      h('label', {}, 'Key', h('input', { name: 'key', type: 'password', autocomplete: 'off', spellcheck: 'false', autofocus: true })),
      h('p', { class: 'buttons' },
        h('button', { class: 'main', type: 'submit' }, 'Use it'),
        key() && h('button', { type: 'button', key: 'forget', onclick: () => { useKey(''); close(app); app.look(); } }, 'Forget the key'),
        h('button', { type: 'button', key: 'cancel', onclick: () => close(app) }, 'Cancel'))),
  ];
}

function stateForm(app, { experiment, state }) {
  const act = (event) => {
    event.preventDefault();
    attempt(app, () => post(of(experiment.name, 'state'), { state, version: experiment.version }));
  };
  const paused = state === 'paused';
  return [
    h('form', { onsubmit: act, key: 'form' },
      h('h2', { id: 'dialog-title' }, paused ? `Pause ${experiment.name}?` : `Resume ${experiment.name}?`),
      h('p', {}, paused ? 'Everybody is served the default arm until it is resumed. Nothing that was learned is forgotten.'
        : 'The policy chooses again, with all that was learned.'),
      complaint(failure),
      h('p', { class: 'buttons' },
        h('button', { class: 'main', type: 'submit', autofocus: true }, paused ? 'Pause' : 'Resume'),
        h('button', { type: 'button', onclick: () => close(app) }, 'Cancel'))),
  ];
}

// What an outage or a mistake has spoilt; times are UTC, as everywhere.
function excludeForm(app, { experiment, from, to }) {
  const act = (event) => {
    event.preventDefault();
    const { first, last } = event.target.elements;
    const arms = [...event.target.querySelectorAll('input[type=checkbox]:checked')].map((box) => box.value);
    attempt(app, () => post(of(experiment.name, 'exclude'), { from_ms: stamp(first.value), to_ms: stamp(last.value), arms }));
  };
  const field = (name, label, ms) => h('label', {}, label, h('input', { name, type: 'datetime-local', required: true, value: new Date(ms).toISOString().slice(0, 16) }));
  return [
    h('form', { onsubmit: act, key: 'form' },
      h('h2', { id: 'dialog-title' }, `Exclude data of ${experiment.name}`),
      h('p', {}, 'Decisions of this time no longer count, with all that they earned: neither in learning nor in reports. It can be taken back.'),
      h('div', { class: 'fields' }, field('first', 'From, UTC', from), field('last', 'To, UTC', to)),
      h('fieldset', {}, h('legend', {}, 'Of these arms; of all where none is chosen'),
        experiment.arms.map((arm) => h('label', { key: arm, class: 'box' }, h('input', { type: 'checkbox', value: arm }), arm))),
      complaint(failure),
      h('p', { class: 'buttons' },
        h('button', { class: 'main', type: 'submit' }, 'Exclude'),
        h('button', { type: 'button', onclick: () => close(app) }, 'Cancel'))),
  ];
}

const stamp = (text) => Date.parse(`${text}Z`);

function includeForm(app, { experiment, number }) {
  const act = (event) => {
    event.preventDefault();
    attempt(app, () => post(of(experiment.name, 'include'), { number }));
  };
  return [
    h('form', { onsubmit: act, key: 'form' },
      h('h2', { id: 'dialog-title' }, 'Let it count again?'),
      h('p', {}, 'What was excluded counts again, as if it had never been excluded.'),
      complaint(failure),
      h('p', { class: 'buttons' },
        h('button', { class: 'main', type: 'submit', autofocus: true }, 'Let it count'),
        h('button', { type: 'button', onclick: () => close(app) }, 'Cancel'))),
  ];
}
