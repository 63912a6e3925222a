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
