// Ranks of chains by their worst gains, with the ranks that no sure difference excludes, all of them at once.

// Worst gains of each chain on the images that all of them have: [chain, image].
function pairedGains(found) {
  const chains = [...found.keys()];
  if (chains.length < 2) return { chains: [], gains: [] };
  const places = chains.map((chain) => new Map(found.get(chain).clusters.names.map((name, i) => [name, i])));
  const names = found.get(chains[0]).clusters.names.filter((name) => places.every((place) => place.has(name)));
  const gains = chains.map((chain, c) =>
    Float64Array.from(names, (name) => found.get(chain).gain[places[c].get(name)])
  );
  return { chains: names.length ? chains : [], gains };
}

function rankTexts(found, options) {
  const { chains, gains } = pairedGains(found);
  const known = gains.filter(allFinite);
  const ranked = ranksOf(known, options);
  return new Map(chains.map((chain, c) => {
    const place = known.indexOf(gains[c]);
    return [chain, place < 0 ? options.words.undefined : ranked[place]];
  }));
}

function ranksOf(gains, options) {
  const { least_images: least, same } = options.constants;
  const means = gains.map(mean);
  const better = (other, own) => other < own - same * Math.max(1, Math.abs(own));
  const places = means.map((own) => 1 + means.filter((other) => better(other, own)).length);
  if (!gains.length || gains[0].length < least) return places.map((place) => `${place} ${options.words.too_few}`);
  const [surelyBetter, surelyWorse] = [0, 1].map(() => gains.map(() => 0));
  for (const [first, second, sign] of sureDifferences(gains, options)) {
    const [winner, loser] = sign < 0 ? [first, second] : [second, first];
    surelyBetter[loser] += 1;
    surelyWorse[winner] += 1;
  }
  return places.map((place, c) => `${place} [${1 + surelyBetter[c]}, ${gains.length - surelyWorse[c]}]`);
}

// Pairs of chains whose mean difference is sure, with its sign: the bootstrap of the largest deviation of any pair.
function sureDifferences(gains, options) {
  const { confidence, flat, same, rank_resamples: resamples, seed } = options.constants;
  const count = gains[0].length;
  const images = drawn(count, resamples, seed);
  const largest = new Float64Array(resamples);
  const pairs = gains.flatMap((one, first) =>
    gains.slice(first + 1).map((other, i) => {
      const differences = minus(one, other);
      const middle = mean(differences);
      const residuals = mapped(differences, (difference) => difference - middle);
      const squared = squares(residuals);
      const error = Math.sqrt(mean(squared) / (count - 1));
      for (let b = 0, at = 0; b < resamples; b += 1) {
        let [shift, square] = [0, 0];
        for (let drawnImages = 0; drawnImages < count; drawnImages += 1, at += 1) {
          shift += residuals[images[at]];
          square += squared[images[at]];
        }
        shift /= count;
        const spread = Math.sqrt(Math.max(square / count - shift * shift, 0) / (count - 1));
        if (spread > flat * error) largest[b] = Math.max(largest[b], Math.abs(shift) / spread);
      }
      return { first, second: first + 1 + i, middle, error };
    })
  );
  const reach = pairs.length ? quantile(largest.sort(), confidence) : 0;
  const isSure = ({ middle, error }) => Math.abs(middle) > Math.max(reach * error, same);
  return pairs.filter(isSure).map(({ first, second, middle }) => [first, second, Math.sign(middle)]);
}
