// Tables of attacks: every attack behind every chain, and those that knew the chain beside their twins.

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
