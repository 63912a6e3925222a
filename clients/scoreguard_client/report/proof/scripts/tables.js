// The tables: which records each line is of, and the function of each cell. A table is a list of lines, a line has a
// key, the names that stand in front of it, and a function for each heading.

const SEPARATOR = "|";
const UNDEFENDED = "none";
const plain = (value) => ({ kind: "plain", value });
const words = (text) => ({ kind: "text", text });

// A metric of the page with its records as columns, and what its scores are scaled by.
function metricOf(written, content) {
  const options = { ...content.options, constants: content.constants, words: content.words };
  const columns = columnsOf(written.records);
  // What intervals count: the image, or the video that it is a frame of.
  columns.unit = columns.image.map((image) => (Object.hasOwn(content.units, image) ? content.units[image] : image));
  const transform = transformOf(written.transform);
  const better = written.declared.higher_is_better;
  const bounds = { low: written.bounds.low, high: written.bounds.high, higher_is_better: better };
  const planned = content.plan.metrics.find(({ name }) => name === written.name);
  const rows = columns.image.map((_, row) => row);
  const isDegraded = (row) => content.attacks[columns.attack[row]].is_degradation;
  const good = rows.filter((row) => !columns.failed[row]);
  return {
    ...written,
    options,
    columns,
    attacks: content.attacks,
    people: content.people,
    chains: planned.chains,
    ofAttacks: rows.filter((row) => !isDegraded(row)),
    attacked: good.filter((row) => !isDegraded(row)),
    degraded: good.filter(isDegraded),
    view: { transform, declared: transform ? written.declared : bounds },
    raw: { transform: null, declared: transform ? written.declared : bounds },
    label: (chain) => written.labels[chain] ?? chain,
  };
}

// Groups in the order of first appearance.
function grouped(rows, keyOf) {
  const groups = new Map();
  for (const row of rows) {
    const key = keyOf(row);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(row);
  }
  return groups;
}

function once(make) {
  let known;
  return () => (known ??= make());
}

const twinOf = ({ columns }) => (row) =>
  [columns.attack[row], columns.chain[row], columns.adaptive[row] ? "adaptive" : "unaware"].join(SEPARATOR);

function robustness(metric) {
  const { columns } = metric;
  return [...grouped(metric.ofAttacks, twinOf(metric))].map(([key, rows]) => {
    const good = rows.filter((row) => !columns.failed[row]);
    const numbers = once(() => new Numbers(metric, good, metric.view));
    const queries = () => (good.length ? mean(good.map((row) => columns.queries[row] ?? 0)) : 0);
    const estimates = Object.entries(COLUMNS).map(([name, compute]) => [
      name,
      () => (good.length ? compute(numbers()) : MISSING),
    ]);
    return {
      key,
      names: [metric.attacks[columns.attack[rows[0]]].name, metric.label(columns.chain[rows[0]])],
      cells: {
        ...Object.fromEntries(estimates),
        queries: () => plain(queries()),
        images: () => plain(new Set(good.map((row) => columns.image[row])).size),
        failed: () => plain(rows.length - good.length),
      },
    };
  });
}

function adaptive(metric) {
  const { columns } = metric;
  const lines = new Map(robustness(metric).map((line) => [line.key, line]));
  const pairs = grouped(metric.ofAttacks, (row) => [columns.attack[row], columns.chain[row]].join(SEPARATOR));
  return [...pairs].flatMap(([key, rows]) => {
    const [knowing, other] = ["adaptive", "unaware"].map((mode) => lines.get(key + SEPARATOR + mode));
    if (!knowing || !other) return [];
    const good = rows.filter((row) => !columns.failed[row]);
    return {
      key,
      names: knowing.names,
      cells: {
        gain_adaptive: knowing.cells.absolute_gain,
        gain_unaware: other.cells.absolute_gain,
        difference: () => (good.length ? pairedDifference(metric, good) : MISSING),
      },
    };
  });
}

// Mean over the images that both have of the difference of their mean gains.
function pairedDifference(metric, rows) {
  const numbers = new Numbers(metric, rows, metric.view);
  const { images, u, v } = numbers;
  const means = [true, false].map((knew) => {
    const chosen = (row) => Boolean(metric.columns.adaptive[row]) === knew;
    const counts = images.sums(rows.map((row) => (chosen(row) ? 1 : 0)));
    const totals = images.sums(rows.map((row, i) => (chosen(row) ? v[i] - u[i] : 0)));
    return { counts, of: (image) => totals[image] / counts[image] };
  });
  const places = images.names.map((_, image) => image);
  const both = places.filter((image) => means.every(({ counts }) => counts[image] > 0));
  if (!both.length) return MISSING;
  const differences = Float64Array.from(both, (image) => means[0].of(image) - means[1].of(image));
  return meanEstimate(differences, new Clusters(both.map((image) => images.names[image]), metric.options));
}

function violations(metric, rows) {
  if (!rows.length) return MISSING;
  const sign = metric.declared.higher_is_better ? 1 : -1;
  const scores = (name) => Float64Array.from(rows, (row) => sign * number(metric.columns[name][row]));
  const [originals, copies] = [scores("clean_defended"), scores("attacked_defended")];
  if (!allFinite(originals) || !allFinite(copies)) return undefinedEstimate(metric.options);
  const images = new Clusters(rows.map((row) => metric.columns.unit[row]), metric.options);
  return shareEstimate(mapped(copies, (copy, i) => (copy > originals[i] ? 1 : 0)), images);
}

function order(metric) {
  const { columns } = metric;
  const kindOf = (row) => metric.attacks[columns.attack[row]].kind;
  const kinds = [...new Set(metric.degraded.map(kindOf))];
  if (!kinds.length) return [];
  return metric.chains.map((chain) => {
    const rows = metric.degraded.filter((row) => columns.chain[row] === chain);
    const cells = kinds.map((kind) => [kind, () => violations(metric, rows.filter((row) => kindOf(row) === kind))]);
    return { key: chain, names: [metric.label(chain)], cells: Object.fromEntries(cells) };
  });
}

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

function leaderboard(metric) {
  return metric.chains.map((chain) => {
    const behind = (rows) => rows.filter((row) => metric.columns.chain[row] === chain);
    const [rows, copies] = [behind(metric.attacked), behind(metric.degraded)];
    const numbers = once(() => new Numbers(metric, rows, metric.view));
    const images = once(() => imagesOf(metric, rows, numbers()));
    const ifAny = (compute) => () => (rows.length ? compute() : MISSING);
    const inversions = ({ clean, attacked, undefended }) => rankInversions(clean, attacked, undefended, metric.options);
    const column = (name) => [name, ifAny(() => COLUMNS[name](numbers()))];
    return {
      key: chain,
      names: [metric.label(chain)],
      cells: {
        worst_gain: ifAny(() => meanEstimate(images().gain, images().clusters)),
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

// Agreement with what people said of the clean images: of the clean ones, then of those of each attack.
function people(metric) {
  if (!metric.people) return [];
  const { columns } = metric;
  const { scores: said, higher_is_better: better } = metric.people;
  const asked = (rows) => rows.filter((row) => Object.hasOwn(said, columns.image[row]));
  return metric.chains.flatMap((chain) => {
    const behind = (rows) => asked(rows).filter((row) => columns.chain[row] === chain);
    const attacked = [...grouped(behind(metric.attacked), twinOf(metric))].map(([key, rows]) => ({
      key,
      names: [metric.attacks[columns.attack[rows[0]]].name, metric.label(chain)],
      cells: agreement(metric, rows, "attacked_defended", said, better),
    }));
    const clean = behind([...metric.attacked, ...metric.degraded].sort((a, b) => a - b));
    const cells = agreement(metric, clean, "clean_defended", said, better);
    return [{ key: ["clean", chain].join(SEPARATOR), names: ["clean", metric.label(chain)], cells }, ...attacked];
  });
}

// A video has the mean over its frames, in each draw.
function agreement(metric, rows, name, said, better) {
  const { columns } = metric;
  const served = new Map();
  for (const row of rows) served.set(`${columns.draw[row]} ${columns.image[row]}`, row);
  const pairs = [...grouped(served.values(), (row) => `${columns.draw[row]} ${columns.unit[row]}`).values()];
  const images = pairs.map(([row]) => columns.unit[row]);
  const score = (frames) => mean(frames.map((row) => number(columns[name][row])));
  const sides = once(() => [
    Float64Array.from(pairs, (frames) => (metric.declared.higher_is_better ? score(frames) : -score(frames))),
    Float64Array.from(pairs, ([row]) => (better ? said[columns.image[row]] : -said[columns.image[row]])),
    new Clusters(images, metric.options),
  ]);
  const kinds = Object.entries(CORRELATIONS).map(([key, kind]) => [
    key,
    () => (pairs.length ? correlationEstimate(...sides(), kind) : MISSING),
  ]);
  return { ...Object.fromEntries(kinds), images: () => plain(new Set(images).size) };
}

// Several metrics side by side.
function metricsTable(metrics) {
  const chains = [...new Set(metrics.flatMap((metric) => metric.chains))];
  return chains.map((chain) => {
    const cells = metrics.flatMap((metric) => {
      const rows = metric.attacked.filter((row) => metric.columns.chain[row] === chain);
      const raw = [`worst_gain:${metric.name}`, () => worstGain(metric, rows, metric.raw)];
      const transformed = [`worst_gain_transformed:${metric.name}`, () => worstGain(metric, rows, metric.view)];
      return metric.transform ? [raw, transformed] : [raw];
    });
    const named = metrics.find(({ labels }) => chain in labels);
    return { key: chain, names: [named ? named.labels[chain] : chain], cells: Object.fromEntries(cells) };
  });
}

// Every table by its key, with the headings and digits that the page states.
function tablesOf(content) {
  const metrics = content.metrics.map((written) => metricOf(written, content));
  const kinds = { leaderboard, adaptive, robustness, order, people };
  const made = { metrics: () => metricsTable(metrics) };
  for (const metric of metrics) {
    for (const [name, make] of Object.entries(kinds)) made[`${name}:${metric.name}`] = () => make(metric);
  }
  return Object.entries(content.tables).map(([key, digits]) => ({ key, digits, lines: made[key] ? made[key]() : [] }));
}
