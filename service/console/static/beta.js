// What is believed of an arm's mean is a Beta distribution on the range of the metric. The report gives its mean and its 95 %
// interval; from these it is found again.

export function logGamma(x) {
  const c = [76.18009172947146, -86.50532032941677, 24.01409824083091, -1.231739572450155, 0.1208650973866179e-2, -0.5395239384953e-5];
  let sum = 1.000000000190015;
  for (let j = 0; j < 6; j++) sum += c[j] / (x + 1 + j);
  const t = x + 5.5;
  return (x + 0.5) * Math.log(t) - t + Math.log((2.5066282746310005 * sum) / x);
}

export const logDensity = (x, a, b) => (a - 1) * Math.log(x) + (b - 1) * Math.log1p(-x) + logGamma(a + b) - logGamma(a) - logGamma(b);

// The share of Beta(a, b) below x: Lentz's continued fraction (Numerical Recipes, 6.4).
export function below(x, a, b) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - below(1 - x, b, a);
  const front = Math.exp(a * Math.log(x) + b * Math.log1p(-x) + logGamma(a + b) - logGamma(a) - logGamma(b)) / a;
  const tiny = 1e-300;
  let c = 1;
  let d = 1 - ((a + b) * x) / (a + 1);
  d = 1 / (Math.abs(d) < tiny ? tiny : d);
  let f = d;
  for (let m = 1; m < 2000; m++) {
    for (const k of [(m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m)), (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1))]) {
      d = 1 + k * d;
      c = 1 + k / c;
      d = 1 / (Math.abs(d) < tiny ? tiny : d);
      c = Math.abs(c) < tiny ? tiny : c;
      f *= d * c;
      if (k !== 0 && Math.abs(d * c - 1) < 1e-10) return front * f;
    }
  }
  return front * f;
}

// a and b of the distribution with this mean of which 95 % lie between low and high; all of them on 0 to 1. null where none does.
export function fitted(mean, low, high) {
  if (!(mean > 0 && mean < 1 && high > low)) return null;
  const inside = (worth) => below(high, mean * worth, (1 - mean) * worth) - below(low, mean * worth, (1 - mean) * worth);
  let [least, most] = [Math.log(0.5), Math.log(1e9)];
  for (let step = 0; step < 60; step++) {
    const middle = (least + most) / 2;
    if (inside(Math.exp(middle)) < 0.95) least = middle;
    else most = middle;
  }
  const worth = Math.exp((least + most) / 2);
  return { a: mean * worth, b: (1 - mean) * worth };
}
