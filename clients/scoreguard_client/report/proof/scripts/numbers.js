// Numbers: sums in NumPy's order, quantiles, ranks, and the two distributions behind the intervals.

const FEW = 8;
const BLOCK = 128;

// NumPy adds pairwise: in eight lanes up to a block, halves above. The same order gives the same last digit, so that
// what hangs on one, such as the sign of a difference of means, is the same here.
function sum(values, from = 0, to = values.length) {
  const count = to - from;
  if (count < FEW) {
    let total = 0;
    for (let i = from; i < to; i += 1) total += values[i];
    return total;
  }
  if (count <= BLOCK) {
    const lanes = Array.from({ length: FEW }, (_, lane) => values[from + lane]);
    const whole = from + count - (count % FEW);
    for (let i = from + FEW; i < whole; i += FEW) {
      for (let lane = 0; lane < FEW; lane += 1) lanes[lane] += values[i + lane];
    }
    const [a, b, c, d, e, f, g, h] = lanes;
    let total = a + b + (c + d) + (e + f + (g + h));
    for (let i = whole; i < to; i += 1) total += values[i];
    return total;
  }
  let half = Math.floor(count / 2);
  half -= half % FEW;
  return sum(values, from, from + half) + sum(values, from + half, to);
}

const mean = (values) => sum(values) / values.length;

// Float64Array.from takes several times as long.
function mapped(values, change) {
  const found = new Float64Array(values.length);
  for (let i = 0; i < values.length; i += 1) found[i] = change(values[i], i);
  return found;
}

const minus = (first, second) => mapped(first, (value, i) => value - second[i]);
const squares = (values) => mapped(values, (value) => value * value);
const allFinite = (values) => values.every(Number.isFinite);

function variance(values) {
  const middle = mean(values);
  return mean(mapped(values, (value) => (value - middle) ** 2));
}

// Linear between the two nearest of the sorted values, as numpy.quantile does by default.
function quantile(sorted, share) {
  const place = share * (sorted.length - 1);
  const low = Math.floor(place);
  const part = place - low;
  const below = sorted[low];
  const above = sorted[Math.min(low + 1, sorted.length - 1)];
  return part < 0.5 ? below + (above - below) * part : above - (above - below) * (1 - part);
}

function sortedPlaces(values) {
  return Uint32Array.from(values, (_, i) => i).sort((a, b) => values[a] - values[b] || a - b);
}

// Ranks from 1; equal values share the mean of their ranks.
function ranks(values) {
  const places = sortedPlaces(values);
  const found = new Float64Array(values.length);
  for (let first = 0; first < places.length; ) {
    let next = first + 1;
    while (next < places.length && values[places[next]] === values[places[first]]) next += 1;
    for (let i = first; i < next; i += 1) found[places[i]] = (first + next + 1) / 2;
    first = next;
  }
  return found;
}

// Stirling's series; small arguments are brought up to where it has all digits.
const STIRLING = [1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156];
const STIRLING_FROM = 15;

function logGamma(value) {
  let x = value;
  let product = 1;
  while (x < STIRLING_FROM) {
    product *= x;
    x += 1;
  }
  let series = 0;
  for (let k = STIRLING.length - 1; k >= 0; k -= 1) series = series / (x * x) + STIRLING[k];
  return (x - 0.5) * Math.log(x) - x + 0.5 * Math.log(2 * Math.PI) + series / x - Math.log(product);
}

const TINY = 1e-300;
const LAST_DIGIT = 1e-16;
const MOST_TERMS = 100000;

// Regularised incomplete beta function by its continued fraction (DLMF 8.17.22), evaluated by Lentz's method.
function incompleteBeta(x, a, b) {
  if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a);
  const front = Math.exp(
    logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x)
  ) / a;
  const kept = (value) => (Math.abs(value) < TINY ? TINY : value);
  let c = 1;
  let d = 1 / kept(1 - ((a + b) * x) / (a + 1));
  let fraction = d;
  for (let m = 1; m < MOST_TERMS; m += 1) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    let step = 1;
    for (const term of [even, odd]) {
      d = 1 / kept(1 + term * d);
      c = kept(1 + term / c);
      step = c * d;
      fraction *= step;
    }
    if (Math.abs(step - 1) < LAST_DIGIT) break;
  }
  return front * fraction;
}

// Where a rising function reaches a value, to the last digit, by halving.
function reached(rising, value, low, high) {
  let [below, above] = [low, high];
  for (;;) {
    const middle = (below + above) / 2;
    if (middle <= below || middle >= above) return middle;
    if (rising(middle) < value) below = middle;
    else above = middle;
  }
}

function inverseIncompleteBeta(a, b, share) {
  return reached((x) => incompleteBeta(x, a, b), share, 0, 1);
}

const studentKnown = new Map();

// Quantile of Student's t, for shares above a half.
function studentQuantile(share, freedom) {
  const name = `${share} ${freedom}`;
  if (!studentKnown.has(name)) {
    const below = (t) => 1 - incompleteBeta(freedom / (freedom + t * t), freedom / 2, 0.5) / 2;
    let high = 1;
    while (below(high) < share) high *= 2;
    studentKnown.set(name, reached(below, share, 0, high));
  }
  return studentKnown.get(name);
}
