// What the page embeds, as scoreguard_client.report.proof.payload writes it.

const WRITTEN = new Map([["NaN", NaN], ["Infinity", Infinity], ["-Infinity", -Infinity]]);

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text.replace(/\s+/g, "")), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const written = await new Response(stream).text();
  const end = written.indexOf("\n");
  const [head, content] = [JSON.parse(written.slice(0, end)), written.slice(end + 1)];
  return { ...head, content: JSON.parse(content), isWhole: await hasDigest(content, head.sha256) };
}

// Browsers give digests only to pages from a safe source, which a file on the disk is.
async function hasDigest(content, sha256) {
  if (!globalThis.crypto?.subtle) return true;
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(content));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("") === sha256;
}

function columnOf({ values, places, single }) {
  const read = (value) => {
    const number = WRITTEN.has(value) ? WRITTEN.get(value) : value;
    return single && typeof number === "number" ? Math.fround(number) : number;
  };
  const known = values.map(read);
  return places ? places.map((place) => known[place]) : known;
}

function columnsOf(records) {
  return Object.fromEntries(Object.entries(records).map(([name, column]) => [name, columnOf(column)]));
}

// A fitted map, or what a network made of each score.
function transformOf(written) {
  if (!written) return null;
  if (written.looked_up) {
    const { scores, mapped: reached, range } = written.looked_up;
    const known = new Map(scores.map((score, i) => [score, reached[i]]));
    return { range, apply: (score) => known.get(score) ?? NaN };
  }
  const { source, range, slope, scores, mapped: targets } = written.pairs;
  const [sign, referenceSign] = [source, range].map((side) => (side.higher_is_better ? 1 : -1));
  const [knots, reached] = [scores.map((score) => sign * score), targets.map((target) => referenceSign * target)];
  const last = knots.length - 1;
  const apply = (score) => {
    if (Number.isNaN(score)) return NaN;
    const oriented = sign * score;
    const inside = Math.min(knots[last], Math.max(knots[0], oriented));
    let [left, right] = [0, last];
    while (right - left > 1) {
      const middle = (left + right) >> 1;
      if (knots[middle] <= inside) left = middle;
      else right = middle;
    }
    const share = (inside - knots[left]) / (knots[left + 1] - knots[left]);
    const between = share === 1 ? reached[left + 1] : reached[left] + share * (reached[left + 1] - reached[left]);
    return referenceSign * (Math.min(between, reached[left + 1]) + slope * (oriented - inside));
  };
  return { range, apply };
}
