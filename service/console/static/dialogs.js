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
  const content = open.id === 'key' ? keyForm(app) : open.id === 'state' ? stateForm(app, open) : open.draw(app, close, failure);
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
