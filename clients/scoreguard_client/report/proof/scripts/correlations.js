// Correlations: value, what remains without each image, and the interval.

const isConstant = (values) => values.every((value) => value === values[0]);

function pearson(first, second) {
  if (first.length < 2 || isConstant(first) || isConstant(second)) return NaN;
  const [a, b] = [first, second].map((side) => {
    const middle = mean(side);
    return mapped(side, (value) => value - middle);
  });
  const product = sum(mapped(a, (value, i) => value * b[i]));
  return Math.min(1, Math.max(-1, product / Math.sqrt(sum(squares(a))) / Math.sqrt(sum(squares(b)))));
}

const spearman = (first, second) => pearson(ranks(first), ranks(second));

// A rank without an image is the rank less the image's rows below it, ties half.
function deviationsWithout({ known, groups, lost }, rows) {
  const half = (known.length - rows.length + 1) / 2;
  lost.fill(0);
  for (const row of rows) lost[groups[row]] += 1;
  for (let group = 0, below = 0; group < lost.length; group += 1) {
    const here = lost[group];
    lost[group] = below + here / 2;
    below += here;
  }
  const found = new Float64Array(known.length);
  for (let row = 0; row < found.length; row += 1) found[row] = known[row] - half - lost[groups[row]];
  for (const row of rows) found[row] = 0;
  return found;
}

// Ranks, the number of each value among the different ones, and room for what is lost of each.
function sideOf(values) {
  const known = ranks(values);
  const kinds = Float64Array.from(new Set(known)).sort();
  const numbers = new Map(Array.from(kinds, (rank, group) => [rank, group]));
  return { known, groups: Uint32Array.from(known, (rank) => numbers.get(rank)), lost: new Float64Array(kinds.length) };
}

function spearmanWithoutEach(first, second, clusters) {
  const sides = [sideOf(first), sideOf(second)];
  return Float64Array.from(clusters.rows, (rows) => {
    const [one, other] = sides.map((side) => deviationsWithout(side, rows));
    let [products, ones, others] = [0, 0, 0];
    for (let i = 0; i < one.length; i += 1) {
      products += one[i] * other[i];
      ones += one[i] * one[i];
      others += other[i] * other[i];
    }
    return ones * others > 0 ? products / Math.sqrt(ones * others) : NaN;
  });
}

function pearsonWithoutEach(first, second, clusters) {
  return Float64Array.from(clusters.rows, (rows) => {
    const left = new Set(rows);
    const [one, other] = [first, second].map((side) => side.filter((_, row) => !left.has(row)));
    return pearson(one, other);
  });
}

// Of each row with the others: pairs in the same order less those in opposite order, and pairs not tied on each side.
function pairsOf(first, second, row, rows) {
  const found = [0, 0, 0];
  for (const other of rows) {
    const one = Math.sign(first[row] - first[other]);
    const two = Math.sign(second[row] - second[other]);
    found[0] += one * two;
    found[1] += Math.abs(one);
    found[2] += Math.abs(two);
  }
  return found;
}

const tauOf = ([concordance, one, two]) => (one * two > 0 ? concordance / Math.sqrt(one) / Math.sqrt(two) : NaN);

function kendall(first, second) {
  const rows = Array.from(first, (_, row) => row);
  const total = [0, 0, 0];
  for (const row of rows) pairsOf(first, second, row, rows).forEach((value, i) => (total[i] += value / 2));
  return tauOf(total);
}

// Without an image its pairs are missing; a pair within it was counted by both of its rows.
function kendallWithoutEach(first, second, clusters) {
  const every = Array.from(first, (_, row) => row);
  const total = [0, 0, 0];
  const lost = clusters.rows.map((rows) => {
    const own = [0, 0, 0];
    for (const row of rows) {
      const within = pairsOf(first, second, row, rows);
      pairsOf(first, second, row, every).forEach((value, i) => {
        own[i] += value - within[i] / 2;
        total[i] += value / 2;
      });
    }
    return own;
  });
  return Float64Array.from(lost, (own) => tauOf(total.map((value, i) => value - own[i])));
}

// By theory, the standard error of Fisher's z: Bonett and Wright's, Fisher's and Fieller's.
const CORRELATIONS = {
  srocc: {
    value: spearman,
    withoutEach: spearmanWithoutEach,
    error: (correlation, count) => Math.sqrt((1 + correlation ** 2 / 2) / (count - 3)),
  },
  plcc: { value: pearson, withoutEach: pearsonWithoutEach, error: (_, count) => Math.sqrt(1 / (count - 3)) },
  krocc: { value: kendall, withoutEach: kendallWithoutEach, error: (_, count) => Math.sqrt(0.437 / (count - 4)) },
};

function correlationEstimate(first, second, clusters, kind = CORRELATIONS.srocc) {
  const { options } = clusters;
  if (clusters.count < options.constants.fewest_images) return tooFew(NaN, options);
  const value = allFinite(first) && allFinite(second) ? kind.value(first, second) : NaN;
  if (!Number.isFinite(value)) return undefinedEstimate(options);
  const interval = () => correlationInterval(kind, value, first, second, clusters);
  const deciding = [first, second, minus(second, first)];
  return withInterval(value, clusters, deciding, interval, options.constants.least_for_correlation);
}

// Fisher's z with the larger of the jackknife's error and the one by theory, joined with the one without its bias.
function correlationInterval(kind, value, first, second, clusters) {
  const { count } = clusters;
  const most = 1 - count ** -1.5;
  const bounded = (number) => Math.min(most, Math.max(-most, number));
  const middle = Math.atanh(bounded(value));
  let error = kind.error(bounded(value), count);
  let bias = 0;
  const without = kind.withoutEach(first, second, clusters).filter(Number.isFinite);
  if (without.length) {
    const others = mapped(without, (other) => Math.atanh(bounded(other)));
    error = Math.max(error, Math.sqrt((count - 1) * variance(others)));
    bias = (count - 1) * (mean(others) - middle);
  }
  const reach = studentQuantile((1 + clusters.options.constants.confidence) / 2, count - 2) * error;
  const low = Math.tanh(middle - reach - Math.max(bias, 0));
  const high = Math.tanh(middle + reach - Math.min(bias, 0));
  return [Math.min(low, value), Math.max(high, value)];
}
