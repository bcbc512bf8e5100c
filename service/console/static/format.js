// Numbers as `lever report` prints them, so that page and terminal say the same; and each number on the page carries where it
// came from: <data value="0.042" data-of="report/segments/0/arms/1/mean">.
import { h } from './dom.js';

export const NONE = '–';
const missing = (value) => value === null || value === undefined;

// Four significant digits, never in powers of ten where a person would write it out.
export function number(value) {
  if (missing(value)) return NONE;
  const size = Math.abs(value);
  if (size < 5e-5) return '0';
  const sign = value < 0 ? '−' : '';
  if (size >= 1000) return sign + whole(size);
  return sign + (size < 1 ? size.toFixed(4) : String(Number(size.toPrecision(4))));
}

export const whole = (value) => value.toLocaleString('en-US', { maximumFractionDigits: 0 });
export const count = (value) => (missing(value) ? NONE : whole(value));
export const share = (value, digits = 1) => (missing(value) ? NONE : `${(100 * value).toFixed(digits)} %`);
export const signed = (value) => (missing(value) ? NONE : (value > 0 ? '+' : '') + number(value));
export function signedShare(value) {
  if (missing(value)) return NONE;
  const size = Math.abs(100 * value);
  return `${value < 0 ? '−' : '+'}${size < 9.95 ? size.toFixed(1) : whole(size)} %`;
}
export const chance = (value) => {
  if (missing(value)) return NONE;
  if (value > 0.999 && value < 1) return '> 99.9 %';
  return value > 0 && value < 0.001 ? '< 0.1 %' : share(value);
};
export const significance = (value) => (missing(value) ? NONE : value < 0.001 ? '< 0.001' : value.toFixed(3));

// A sentence whose lines do not begin with a percent sign.
export const unbroken = (sentence) => sentence.replaceAll(' %', '\u00a0%');

const two = (value) => String(value).padStart(2, '0');
export function moment(ms, seconds = false) {
  const at = new Date(ms);
  const day = `${at.getUTCFullYear()}-${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())}`;
  return `${day} ${two(at.getUTCHours())}:${two(at.getUTCMinutes())}${seconds ? `:${two(at.getUTCSeconds())}` : ''} UTC`;
}
export function lasting(seconds) {
  if (missing(seconds)) return NONE;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 90) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}
export const time = (ms) => h('time', { datetime: new Date(ms).toISOString() }, moment(ms));

// One number of an answer: `from` is {name, json}, `path` where it stands in it.
export const at = (from, path) => path.reduce((value, key) => value?.[key], from.json);
export function value(from, path, show = number, props = {}) {
  const found = at(from, path);
  return h('data', { ...props, value: missing(found) ? '' : String(found), 'data-of': [from.name, ...path].join('/') }, show(found));
}
export const plural = (amount, one, many = `${one}s`) => `${whole(amount)} ${amount === 1 ? one : many}`;
