// Why did this visitor see that? Of a decision that was made, or of a context that is tried.
import { get, of, post } from './api.js';
import { h } from './dom.js';
import { heading } from './experiment.js';
import { chance, number, signed, time, value } from './format.js';

const asked = { name: '', answer: null, failure: null };

export const why = {
  every: 5000,
  async load(route) {
    if (asked.name !== route.name) Object.assign(asked, { name: route.name, answer: null, failure: null });
    return get(of(route.name));
  },
  draw({ experiment, tree }, route, app) {
    const ask = async (question) => {
      try {
        Object.assign(asked, { answer: { name: 'explain', json: await post('explain', question) }, failure: null });
      } catch (error) {
        Object.assign(asked, { answer: null, failure: error });
      }
      app.redraw();
    };
    return [
      ...heading(experiment, route, app),
      h('h2', { key: 'question' }, 'Why did this visitor see that?'),
      h('div', { class: 'questions', key: 'forms' }, byDecision(ask, experiment.name), byContext(ask, experiment.name, tree)),
      asked.failure && h('p', { class: 'bad', role: 'alert', key: 'failure' }, asked.failure.message),
      asked.answer && h('section', { key: 'answer', 'aria-live': 'polite' }, ...told(asked.answer)),
    ];
  },
};

function byDecision(ask, name) {
  const submit = (event) => {
    event.preventDefault();
    ask({ name, decision_id: event.target.elements.decision.value.trim() });
  };
  return h('form', { onsubmit: submit, key: 'decision' },
    h('h3', {}, 'A decision that was made'),
    h('label', {}, 'Decision id', h('input', { name: 'decision', required: true, spellcheck: 'false', autocomplete: 'off' })),
    h('p', { class: 'buttons' }, h('button', { type: 'submit' }, 'Explain the decision')));
}

function byContext(ask, name, tree) {
  const features = Object.entries(tree.features ?? {});
  const submit = (event) => {
    event.preventDefault();
    const context = {};
    for (const [feature, { type }] of features) {
      const given = event.target.elements[`feature ${feature}`].value;
      if (given !== '') context[feature] = type === 'flag' ? given === 'yes' : type === 'category' || Number.isNaN(Number(given)) ? given : Number(given);
    }
    ask({ name, context });
  };
  return h('form', { onsubmit: submit, key: 'context' },
    h('h3', {}, 'A visitor who may come'),
    features.length ? h('div', { class: 'fields' }, features.map(([feature, spec]) => field(feature, spec)))
      : h('p', { class: 'quiet' }, 'This experiment knows no features: all visitors of a segment are alike.'),
    h('p', { class: 'buttons' }, h('button', { type: 'submit' }, 'Explain the choice')));
}

function field(feature, spec) {
  const name = `feature ${feature}`;
  const choice = (values) => h('select', { name }, h('option', { value: '' }, 'not known'), values.map((one) => h('option', { key: one, value: one }, one)));
  const input = spec.type === 'flag' ? choice(['yes', 'no'])
    : spec.type === 'category' ? choice(spec.values ?? [])
    : h('input', { name, inputmode: 'decimal', placeholder: 'not known', autocomplete: 'off' });
  return h('label', { key: feature }, feature, input);
}

function told(answer) {
  const { json } = answer;
  const reason = json.reason.toLowerCase().replaceAll('_', ' ');
  return [
    h('p', { class: 'answer' }, json.arm
      ? [h('b', {}, json.arm), ' was chosen on ', value(answer, ['at_ms'], (ms) => time(ms)), ' with probability ', value(answer, ['propensity'], chance), '. ']
      : json.served ? ['Everybody of this context gets ', h('b', {}, json.served), ' now. '] : null,
    'Segment ', h('b', {}, json.segment), `; reason: ${reason}.`, json.arm ? ' The beliefs are those of now.' : ''),
    json.arms.length > 0 && h('ol', { class: 'reasons', 'aria-label': 'Arms, the likeliest first' }, json.arms.map((arm, place) => reasons(answer, arm, place, largest(json)))),
  ];
}

const largest = (json) => Math.max(1e-12, ...json.arms.flatMap((arm) => arm.parts.map((part) => Math.abs(part.effect))));

function reasons(answer, arm, place, scale) {
  const path = ['arms', place];
  const of = (name, show) => value(answer, [...path, name], show);
  return h('li', { key: arm.arm, class: arm.arm === answer.json.arm ? 'chosen' : '' },
    h('div', { class: 'arm' }, h('b', {}, arm.arm), arm.probability !== null && h('span', {}, of('probability', chance))),
    arm.mean !== null && h('div', { class: 'quiet' }, 'expected ', of('mean'), ' from this visitor, ', arm.low !== null && [of('low'), ' to ', of('high'), ' with 95 %; '], of('base'), ' on average'),
    arm.parts.length > 0 && h('ul', { class: 'parts' }, arm.parts.slice(0, 6).map((part, index) => h('li', { key: part.features.join() },
      h('span', {}, part.features.join(' with ') || 'the rest'),
      h('svg', { class: `part ${part.effect < 0 ? 'less' : 'more'}`, viewBox: '-50 0 100 8', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
        h('rect', { x: part.effect < 0 ? ((50 * part.effect) / scale).toFixed(2) : 0, width: ((50 * Math.abs(part.effect)) / scale).toFixed(2), height: 8 }),
        h('line', { x1: 0, x2: 0, y1: 0, y2: 8 })),
      value(answer, [...path, 'parts', index, 'effect'], signed)))));
}
