// Means and distances with their intervals, as docs/intervals.md describes them.

const estimate = (value, low = NaN, high = NaN, note = "") => ({ kind: "estimate", value, low, high, note });
const MISSING = estimate(NaN);
const undefinedEstimate = (options) => estimate(NaN, NaN, NaN, options.words.undefined);
const tooFew = (value, options) => estimate(value, NaN, NaN, options.words.too_few);

// Images outside the largest group with the same mean.
function apart(values, clusters) {
  const { same } = clusters.options.constants;
  const means = mapped(clusters.sums(values), (total, i) => total / clusters.sizes[i]).sort();
  let most = 0;
  for (let i = 0, stop = 0; i < means.length; i += 1) {
    const reach = means[i] + same * Math.max(1, Math.abs(means[i]));
    while (stop < means.length && means[stop] <= reach) stop += 1;
    most = Math.max(most, stop - i);
  }
  return means.length - most;
}

function withInterval(value, clusters, deciding, interval, least) {
  const { options } = clusters;
  const few = (rows) => apart(rows, clusters) < options.constants.least_apart;
  return clusters.count < least || deciding.some(few)
    ? tooFew(value, options)
    : estimate(value, ...interval());
}

function meanEstimate(values, clusters, changes = null) {
  const { options } = clusters;
  if (!allFinite(values)) return undefinedEstimate(options);
  const deciding = changes ? [values, changes] : [values];
  const least = options.constants.least_images;
  return withInterval(mean(values), clusters, deciding, () => meanInterval(values, clusters), least);
}

function meanInterval(values, clusters) {
  return studentised(clusters.sums(values), clusters.sizes, clusters.single, clusters);
}

// Student's t joined with the studentised bootstrap, of sum(sums) / sum(sizes); `ones` if every size is 1.
function studentised(sums, sizes, ones, clusters) {
  const { constants, resamples } = clusters.options;
  const count = sums.length;
  const rows = sum(sizes);
  const middle = sum(sums) / rows;
  const correction = count / (count - 1);
  const residuals = mapped(sums, (total, i) => total - middle * sizes[i]);
  const squared = squares(residuals);
  const error = Math.sqrt(correction * sum(squared)) / rows;
  const images = clusters.draws;
  const pivots = [];
  for (let b = 0, at = 0; b < resamples; b += 1) {
    let [shift, square, cross, size, sizeSquares] = [0, 0, 0, 0, 0];
    for (let i = 0; i < count; i += 1, at += 1) {
      const image = images[at];
      shift += residuals[image];
      square += squared[image];
      if (!ones) {
        cross += residuals[image] * sizes[image];
        size += sizes[image];
        sizeSquares += sizes[image] * sizes[image];
      }
    }
    if (ones) [cross, size, sizeSquares] = [shift, count, count];
    shift /= size;
    const left = square - 2 * shift * cross + shift * shift * sizeSquares;
    const own = Math.sqrt(correction * Math.max(left, 0)) / size;
    if (own > constants.flat * error) pivots.push(shift / own);
  }
  let below = studentQuantile((1 + constants.confidence) / 2, count - 1);
  let above = below;
  if (pivots.length) {
    const sorted = Float64Array.from(pivots).sort();
    below = Math.max(below, quantile(sorted, (1 + constants.confidence) / 2));
    above = Math.max(above, -quantile(sorted, (1 - constants.confidence) / 2));
  }
  return [middle - below * error, middle + above * error];
}

// All scores in order: the widths between them, and how many more clean ones than attacked ones lie below.
function stretches(clean, attacked) {
  const ends = new Float64Array(clean.length + attacked.length);
  ends.set(clean);
  ends.set(attacked, clean.length);
  const places = sortedPlaces(ends);
  const widths = new Float64Array(ends.length);
  const heights = new Float64Array(ends.length);
  for (let i = 0, height = 0; i < places.length; i += 1) {
    height += places[i] < clean.length ? 1 : -1;
    heights[i] = height;
    widths[i] = i + 1 < places.length ? ends[places[i + 1]] - ends[places[i]] : 0;
  }
  return { places, widths, heights };
}

const DISTANCES = {
  wasserstein: {
    power: 1,
    size: ({ widths, heights }, rows) => sum(mapped(widths, (width, i) => Math.abs(heights[i] / rows) * width)),
    change: (whole, own) => Math.abs(whole - own) - Math.abs(whole),
    of: (whole) => Math.abs(whole),
    finish: (total, rows) => Math.max(total, 0) / rows,
  },
  energy: {
    power: 2,
    size: ({ widths, heights }, rows) =>
      Math.SQRT2 * Math.sqrt(sum(mapped(widths, (width, i) => (heights[i] / rows) ** 2 * width))),
    change: (whole, own) => own * own - 2 * own * whole,
    of: (whole) => whole * whole,
    finish: (total, rows) => Math.sqrt(2 * Math.max(total, 0)) / rows,
  },
};

function signedDistance(kind, clean, attacked) {
  if (![...clean, ...attacked].every((value) => !Number.isNaN(value))) return NaN;
  return kind.size(stretches(clean, attacked), clean.length) * Math.sign(mean(attacked) - mean(clean));
}

// The distance without each image: its steps are taken away where they are, between its own scores.
function distancesWithoutEach(kind, clean, attacked, clusters) {
  const { places, widths, heights } = stretches(clean, attacked);
  const rows = clean.length;
  const own = Array.from({ length: clusters.count }, () => []);
  places.forEach((place, at) => own[clusters.owners[place % rows]].push([at, place < rows ? 1 : -1]));
  // Integrals up to each score of what one image of this height changes.
  const integrals = new Map();
  const integral = (height) => {
    if (!integrals.has(height)) {
      const found = new Float64Array(widths.length + 1);
      for (let i = 0; i < widths.length; i += 1) found[i + 1] = found[i] + kind.change(heights[i], height) * widths[i];
      integrals.set(height, found);
    }
    return integrals.get(height);
  };
  const total = sum(mapped(widths, (width, i) => kind.of(heights[i]) * width));
  return Float64Array.from(own, (steps, image) => {
    let [height, changed] = [0, 0];
    steps.forEach(([at, step], i) => {
      height += step;
      if (height && i + 1 < steps.length) changed += integral(height)[steps[i + 1][0]] - integral(height)[at];
    });
    return kind.finish(total + changed, rows - clusters.sizes[image]);
  });
}

function distanceEstimate(kind, clean, attacked, clusters) {
  const { options } = clusters;
  const value = signedDistance(kind, clean, attacked);
  if (!Number.isFinite(value)) return undefinedEstimate(options);
  const changes = minus(attacked, clean);
  const interval = () => distanceInterval(kind, value, clean, attacked, clusters);
  return withInterval(value, clusters, [changes], interval, options.constants.least_for_distance);
}

function distanceInterval(kind, value, clean, attacked, clusters) {
  const { count } = clusters;
  const whole = Math.abs(value) ** kind.power;
  const others = distancesWithoutEach(kind, clean, attacked, clusters);
  const pseudo = mapped(others, (other) => count * whole - (count - 1) * other ** kind.power);
  let [low, high] = studentised(pseudo, new Float64Array(count).fill(1), true, clusters);
  const shift = whole - mean(pseudo);
  [low, high] = [Math.min(low, low + shift), Math.max(high, high + shift, whole)];
  [low, high] = [low, high].map((end) => Math.max(end, 0) ** (1 / kind.power));
  const [lowest, highest] = meanInterval(minus(attacked, clean), clusters);
  if (lowest <= 0 && highest >= 0) return [-high, high];
  low = Math.min(low, Math.abs(lowest), Math.abs(highest));
  return lowest > 0 ? [low, high] : [-high, -low];
}
