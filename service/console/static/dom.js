// A view is a tree of plain objects; `patch` brings the page to look like it and touches nothing that is so already. So a page
// that is drawn anew every few seconds keeps its focus, its scrolling and its open details.

const SVG = 'http://www.w3.org/2000/svg';

// One element. Properties: attributes by name, `on…` handlers, `key` to be recognised among its siblings, `keep` for an
// element that looks after its own content ({make, update, end}, and `data` for them).
export const h = (tag, props, ...children) => ({
  tag,
  props: props ?? {},
  key: props?.key,
  children: present(children),
});

// Of what a view says, that which is there.
const present = (children) => children.flat(Infinity).filter((one) => one !== null && one !== undefined && one !== false && one !== '');

export function patch(parent, given) {
  const children = present(given);
  const old = [...parent.childNodes];
  const keyed = new Map();
  const loose = [];
  for (const node of old) {
    if (node.view?.key !== undefined) keyed.set(node.view.key, node);
    else loose.push(node);
  }
  const used = new Set();
  let at = 0;
  let place = parent.firstChild;
  for (const child of children) {
    let node = null;
    if (typeof child === 'object' && child.key !== undefined) {
      node = keyed.get(child.key) ?? null;
    } else {
      node = loose[at++] ?? null;
    }
    if (node && !fits(node, child)) node = null;
    node = node ? renewed(node, child) : made(child, parent);
    used.add(node);
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
  }
  for (const node of old) if (!used.has(node)) remove(node);
}

const fits = (node, child) =>
  typeof child === 'object' ? node.view?.tag === child.tag && node.view.key === child.key : node.nodeType === 3;

function made(child, parent) {
  if (typeof child !== 'object') return document.createTextNode(String(child));
  const svg = child.tag === 'svg' || (parent.namespaceURI === SVG && parent.localName !== 'foreignObject');
  const node = svg ? document.createElementNS(SVG, child.tag) : document.createElement(child.tag);
  node.view = { tag: child.tag, key: child.key, props: {} };
  return renewed(node, child);
}

function renewed(node, child) {
  if (typeof child !== 'object') {
    const text = String(child);
    if (node.data !== text) node.data = text;
    return node;
  }
  const before = node.view.props;
  for (const name of Object.keys(before)) if (!(name in child.props)) set(node, name, undefined, before[name]);
  for (const [name, value] of Object.entries(child.props)) if (before[name] !== value) set(node, name, value, before[name]);
  node.view.props = child.props;
  const keep = child.props.keep;
  if (!keep) {
    patch(node, child.children);
    // A select knows its value only once it has its options.
    if (child.tag === 'select' && 'value' in child.props && node.value !== child.props.value) node.value = child.props.value;
  } else if (node.kept === undefined) {
    node.kept = keep.make(node, child.props.data);
    node.keeper = keep;
  } else if (before.data !== child.props.data) {
    keep.update(node.kept, child.props.data, node);
  }
  return node;
}

function set(node, name, value, before) {
  if (name === 'key' || name === 'keep' || name === 'data') return;
  if (name === 'left') {
    node.style.left = value; // an attribute `style` would be against the policy for content
  } else if (name.startsWith('on')) {
    node[name] = value ?? null;
  } else if (name === 'value' && node.localName !== 'data') {
    // What somebody typed stays until the value itself is another.
    if (node.value !== (value ?? '')) node.value = value ?? '';
  } else if (value === undefined || value === null || value === false) {
    node.removeAttribute(name);
  } else {
    node.setAttribute(name, value === true ? '' : String(value));
  }
}

function remove(node) {
  const ended = node.nodeType === 1 ? [node, ...node.querySelectorAll('*')] : [];
  for (const one of ended) if (one.kept !== undefined) one.keeper.end?.(one.kept, one);
  node.remove();
}
