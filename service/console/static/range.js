// What a mean can be: of a sum of metrics as of its parts, less what arms cost.
export function range({ metrics = [], arms = [] }, id) {
  const of = (name) => metrics.find((one) => one.id === name) ?? {};
  const ends = (one) => [Math.min(one.min ?? 0, 0), Math.max(one.max ?? 1, 0)];
  const parts = of(id).weights
    ? Object.entries(of(id).weights).map(([name, weight]) => ends(of(name)).map((end) => weight * end).sort((a, b) => a - b))
    : [ends(of(id))];
  const costs = arms.map((arm) => arm.cost ?? 0);
  const sum = (at) => parts.reduce((total, part) => total + part[at], 0);
  return [sum(0) - Math.max(0, ...costs), sum(1) - (costs.length ? Math.min(...costs) : 0)];
}
