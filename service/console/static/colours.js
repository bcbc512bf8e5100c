// Which arm has which colour. The ones that lead when a segment is first looked at get one and keep it; the rest are grey.
const COLOURS = 7;
const given = new Map();

export function colours(report, place) {
  const segment = report.json.segments[place];
  return tints(`${report.json.name}/${segment.segment}`, () => {
    const order = [...segment.arms].sort((a, b) => (b.probability_best ?? 0) - (a.probability_best ?? 0) || b.trials - a.trials);
    return order.map((arm) => arm.arm);
  });
}

function tints(id, order) {
  if (!given.has(id)) given.set(id, new Map());
  const known = given.get(id);
  if (known.size < COLOURS) for (const arm of order()) if (!known.has(arm) && known.size < COLOURS) known.set(arm, known.size);
  return (arm) => (known.has(arm) ? `c${known.get(arm)}` : 'grey');
}

export function ink(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
