// Shares of rows and of pairs of images, and the area under a ROC: Clopper and Pearson's interval for the number of
// trials that would know as much.

function shareInterval(share, spread, images, options) {
  const tail = (1 - options.constants.confidence) / 2;
  const trials = spread > 0 ? Math.min(images, (share * (1 - share)) / spread) : images;
  const hits = share * trials;
  const low = share > 0 ? inverseIncompleteBeta(hits, trials - hits + 1, tail) : 0;
  const high = share < 1 ? inverseIncompleteBeta(hits + 1, trials - hits, 1 - tail) : 1;
  return [low, high];
}

function shareEstimate(hits, clusters) {
  const { options } = clusters;
  if (clusters.count < options.constants.fewest_images) return tooFew(NaN, options);
  const share = sum(hits) / hits.length;
  const residuals = clusters.sums(mapped(hits, (hit) => hit - share));
  const spread = sum(squares(residuals)) / hits.length ** 2;
  return estimate(share, ...shareInterval(share, spread, clusters.count, options));
}

function pairShareEstimate(won, first, second, options) {
  const fewest = options.constants.fewest_images;
  if (won.length < fewest) return tooFew(NaN, options);
  const total = sum(first);
  if (!total) return undefinedEstimate(options);
  const wins = sum(won) / 2;
  const share = Math.min(wins / total, 1);
  const trials = Math.min(...[first, second].map((side) => side.filter((pairs) => pairs !== 0).length));
  if (trials < fewest) return tooFew(share, options);
  const others = [];
  won.forEach((value, i) => {
    const pairs = first[i] + second[i];
    if (pairs > 0) others.push((wins - value) / (total - pairs));
  });
  const [low, high] = shareInterval(share, (others.length - 1) * variance(others), trials, options);
  return estimate(share, Math.min(low, share), Math.max(high, share));
}

// Pairs of images at least a gap of quality apart in which the attacked poor one outranks the clean better one.
function rankInversions(clean, attacked, quality, options) {
  if (![clean, attacked, quality].every(allFinite)) return undefinedEstimate(options);
  const count = clean.length;
  const [won, asPoor, asBetter] = [0, 1, 2].map(() => new Float64Array(count));
  for (let poor = 0; poor < count; poor += 1) {
    for (let better = 0; better < count; better += 1) {
      if (quality[better] - quality[poor] < options.constants.inversion_gap) continue;
      const share = attacked[poor] > clean[better] ? 1 : attacked[poor] === clean[better] ? 0.5 : 0;
      won[poor] += share;
      won[better] += share;
      asPoor[poor] += 1;
      asBetter[better] += 1;
    }
  }
  return pairShareEstimate(won, asPoor, asBetter, options);
}

// Area under the ROC of gaps by Mann and Whitney, with DeLong's variance over images.
function rocArea(clean, attacked, cleanImages, attackedImages, options) {
  if (!allFinite(clean) || !allFinite(attacked)) return undefinedEstimate(options);
  const images = Math.min(new Set(cleanImages).size, new Set(attackedImages).size);
  if (images < options.constants.fewest_images) return tooFew(NaN, options);
  const all = ranks([...clean, ...attacked]);
  const [ofClean, ofAttacked] = [ranks(clean), ranks(attacked)];
  const belowClean = mapped(clean, (_, i) => (all[i] - ofClean[i]) / attacked.length);
  const belowAttacked = mapped(attacked, (_, i) => (all[clean.length + i] - ofAttacked[i]) / clean.length);
  const area = mean(belowAttacked);
  const every = new Clusters([...cleanImages, ...attackedImages], options);
  const pulls = [
    ...mapped(belowClean, (below) => (1 - below - area) / clean.length),
    ...mapped(belowAttacked, (below) => (below - area) / attacked.length),
  ];
  const spread = (every.count / (every.count - 1)) * sum(squares(every.sums(pulls)));
  return estimate(area, ...shareInterval(area, spread, images, options));
}
