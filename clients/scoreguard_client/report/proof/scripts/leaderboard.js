// The leaderboard of chains, and what it says of each image: the worst case over attacks.

// One number for each image behind a chain: the worst case over attacks, and its clean scores.
function imagesOf(metric, rows, numbers) {
  const { images, u, v } = numbers;
  const kindOf = (i) => `${metric.columns.attack[rows[i]]}${SEPARATOR}${metric.columns.adaptive[rows[i]]}`;
  const highest = (values) =>
    Float64Array.from(images.rows, (mine) => {
      const means = [...grouped(mine, kindOf).values()].map((draws) => {
        let total = 0;
        for (const i of draws) total += values[i];
        return total / draws.length;
      });
      return Math.max(...means);
    });
  const [clean, undefended] = scaledPair(numbers.cleanDefended, numbers.clean, numbers.scale, metric.options);
  const first = firstOfEach(metric, rows);
  const average = (values) => {
    const [totals, counts] = [0, 1].map(() => new Float64Array(images.count));
    for (const i of first) {
      totals[images.owners[i]] += values[i];
      counts[images.owners[i]] += 1;
    }
    return mapped(totals, (total, image) => total / counts[image]);
  };
  return {
    gain: highest(minus(v, u)),
    attacked: highest(v),
    clean: average(clean),
    undefended: average(undefended),
    clusters: new Clusters(images.names, metric.options),
  };
}

// Where the first record of each image and draw is.
function firstOfEach({ columns }, rows) {
  const places = new Map();
  rows.forEach((row, i) => {
    const key = `${columns.draw[row]} ${columns.image[row]}`;
    if (!places.has(key)) places.set(key, i);
  });
  return [...places.values()];
}

function worstGain(metric, rows, view) {
  if (!rows.length) return MISSING;
  const images = imagesOf(metric, rows, new Numbers(metric, rows, view));
  return meanEstimate(images.gain, images.clusters);
}

function strongest(metric, rows, { u, v }) {
  const { columns } = metric;
  const kinds = grouped(rows.map((_, i) => i), (i) => `${columns.adaptive[rows[i]]}${columns.attack[rows[i]]}`);
  let [most, text] = [-Infinity, ""];
  for (const places of kinds.values()) {
    let total = 0;
    for (const i of places) total += v[i] - u[i];
    const row = rows[places[0]];
    if (total / places.length > most) {
      most = total / places.length;
      text = metric.attacks[columns.attack[row]].name + (columns.adaptive[row] ? ", adaptive" : "");
    }
  }
  return text;
}

function detectionArea(metric, rows) {
  const { columns } = metric;
  const sign = metric.declared.higher_is_better ? 1 : -1;
  const gaps = (places, kind) =>
    Float64Array.from(places, (row) => sign * (number(columns[`${kind}_score`][row]) - number(columns[`${kind}_defended`][row])));
  const first = firstOfEach(metric, rows).map((i) => rows[i]);
  const named = (places) => places.map((row) => columns.unit[row]);
  return rocArea(gaps(first, "clean"), gaps(rows, "attacked"), named(first), named(rows), metric.options);
}

function milliseconds({ columns }, rows) {
  const known = rows.map((row) => columns.scoring_seconds[row]).filter((seconds) => seconds !== null);
  return known.length ? 1000 * mean(known) : NaN;
}

// The records of attacks on each chain, and what they say of each image.
function chainsOf(metric) {
  return new Map(metric.chains.map((chain) => {
    const rows = metric.attacked.filter((row) => metric.columns.chain[row] === chain);
    const numbers = once(() => new Numbers(metric, rows, metric.view));
    return [chain, { rows, numbers, images: once(() => imagesOf(metric, rows, numbers())) }];
  }));
}

function leaderboard(metric) {
  const found = chainsOf(metric);
  const attacked = [...found].filter(([, { rows }]) => rows.length);
  const ranked = once(() =>
    rankTexts(new Map(attacked.map(([chain, { images }]) => [chain, images()])), metric.options)
  );
  return metric.chains.map((chain) => {
    const { rows, numbers, images } = found.get(chain);
    const copies = metric.degraded.filter((row) => metric.columns.chain[row] === chain);
    const ifAny = (compute) => () => (rows.length ? compute() : MISSING);
    const inversions = ({ clean, attacked, undefended }) => rankInversions(clean, attacked, undefended, metric.options);
    const column = (name) => [name, ifAny(() => COLUMNS[name](numbers()))];
    return {
      key: chain,
      names: [metric.label(chain)],
      cells: {
        worst_gain: ifAny(() => meanEstimate(images().gain, images().clusters)),
        rank: () => words(ranked().get(chain) ?? ""),
        strongest: () => words(rows.length ? strongest(metric, rows, numbers()) : ""),
        ...Object.fromEntries(["purification_gain", "quality_score", "srocc"].map(column)),
        order_violations: () => violations(metric, copies),
        rank_inversions: ifAny(() => inversions(images())),
        detection_area: ifAny(() => (chain === UNDEFENDED ? MISSING : detectionArea(metric, rows))),
        milliseconds: () => plain(milliseconds(metric, rows)),
      },
    };
  });
}
