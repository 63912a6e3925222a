// What is known without an attack: the order of degraded copies, and what people said.

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
