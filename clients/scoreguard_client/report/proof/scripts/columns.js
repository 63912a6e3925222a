// The numbers of a group of records, and the columns of the robustness table: one function for each.

const number = (value) => (value === null ? NaN : value);

// 0 = worst and 1 = best of the scale; by the clean scores given if the options say so.
function scaledPair(clean, attacked, declared, options) {
  let { low, high } = declared;
  if (options.scaling === "clean_selection") {
    low = clean.reduce((a, b) => Math.min(a, b), Infinity);
    high = clean.reduce((a, b) => Math.max(a, b), -Infinity);
    if (low === high) return [clean, attacked].map((side) => new Float64Array(side.length).fill(NaN));
  }
  const width = high - low;
  const scale = (score) => {
    const unit = (score - low) / width;
    return declared.higher_is_better ? unit : 1 - unit;
  };
  return [mapped(clean, scale), mapped(attacked, scale)];
}

// Records of one metric as arrays; `rows` are their places among all records of the metric.
class Numbers {
  constructor(metric, rows, { transform, declared }) {
    const column = (name) => Float64Array.from(rows, (row) => number(metric.columns[name][row]));
    const scores = (name) => (transform ? mapped(column(name), transform.apply) : column(name));
    this.rows = rows;
    this.options = metric.options;
    this.scale = transform ? transform.range : declared;
    this.images = new Clusters(rows.map((row) => metric.columns.unit[row]), this.options);
    this.own = new Clusters(rows.map((row) => metric.columns.image[row]), this.options);
    this.raw = transform ? new Numbers(metric, rows, { transform: null, declared }) : this;
    [this.clean, this.cleanDefended] = [scores("clean_score"), scores("clean_defended")];
    this.attacked = scores("attacked_defended");
    [this.u, this.v] = scaledPair(this.cleanDefended, this.attacked, this.scale, this.options);
    this.v8bit = scaledPair(this.cleanDefended, scores("attacked_defended_8bit"), this.scale, this.options)[1];
    for (const name of ["psnr", "ssim", "perceptual", "purified_psnr", "purified_ssim"]) this[name] = column(name);
  }

  mean(values, changes = null) {
    return meanEstimate(values, this.images, changes);
  }
}

// Standard deviation over the draws of each record's image.
function spreads({ own, attacked }) {
  const found = new Float64Array(attacked.length).fill(NaN);
  for (const rows of own.rows) {
    if (rows.length < 2) continue;
    const drawn = Float64Array.from(rows, (row) => attacked[row]);
    const middle = mean(drawn);
    const spread = Math.sqrt(sum(mapped(drawn, (value) => (value - middle) ** 2)) / (drawn.length - 1));
    for (const row of rows) found[row] = spread;
  }
  return found;
}

function relativeChanges(u, v, { constants }) {
  return mapped(u, (clean, i) => (clean >= -constants.relative_gain_rounding ? (v[i] - clean) / (clean + 1) : NaN));
}

function rValues(u, v, { constants, r_mode: mode }) {
  return mapped(u, (clean, i) => {
    const possible = Math.max(1 - (mode === "paper" ? v[i] : clean), clean);
    if (!(possible >= -constants.r_rounding)) return NaN;
    return Math.log10(Math.max(possible, constants.r_floor) / (Math.abs(clean - v[i]) + constants.r_floor));
  });
}

function purificationChanges(clean, attacked, { constants }) {
  return mapped(clean, (score, i) => (score > constants.zero_score ? Math.abs(score - attacked[i]) / score : NaN));
}

const COLUMNS = {
  clean_mean: (n) => n.mean(n.cleanDefended),
  attacked_mean: (n) => n.mean(n.attacked),
  absolute_gain: (n) => n.mean(minus(n.v, n.u)),
  absolute_gain_8bit: (n) => n.mean(minus(n.v8bit, n.u)),
  relative_gain: (n) => n.mean(relativeChanges(n.u, n.v, n.options)),
  r_score: (n) => n.mean(rValues(n.u, n.v, n.options), minus(n.v, n.u)),
  wasserstein_score: (n) => distanceEstimate(DISTANCES.wasserstein, n.u, n.v, n.images),
  energy_score: (n) => distanceEstimate(DISTANCES.energy, n.u, n.v, n.images),
  purification_gain: (n) => n.mean(purificationChanges(n.clean, n.attacked, n.options)),
  quality_score: (n) => n.mean(mapped(n.purified_ssim, (ssim, i) => ssim / 2 + n.purified_psnr[i] / 160)),
  srocc: (n) => correlationEstimate(n.clean, n.attacked, n.images),
  draw_spread: (n) => {
    const values = spreads(n);
    return values.some(Number.isNaN) ? MISSING : n.mean(values);
  },
  psnr: (n) => n.mean(n.psnr),
  ssim: (n) => n.mean(n.ssim),
  perceptual: (n) => n.mean(n.perceptual),
  clean_mean_raw: (n) => n.raw.mean(n.raw.cleanDefended),
  attacked_mean_raw: (n) => n.raw.mean(n.raw.attacked),
  absolute_gain_raw: (n) => n.raw.mean(minus(n.raw.v, n.raw.u)),
};
