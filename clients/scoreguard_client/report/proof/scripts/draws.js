// Images as the unit of resampling, and the draws of the bootstrap.

const RESAMPLINGS_HELD = 4;
const resamplings = new Map();

const rotated = (word, bits) => (word << bits) | (word >>> (32 - bits));

function mixed(state, word) {
  const part = Math.imul(rotated(Math.imul(word, 0xcc9e2d51), 15), 0x1b873593);
  return (Math.imul(rotated(state ^ part, 13), 5) + 0xe6546b64) | 0;
}

// MurmurHash3 (x86, 32 bits) of two words, given the state after the first.
function finished(state, second) {
  let hash = mixed(state, second) ^ 8;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

const hashed = (seed, first, second) => finished(mixed(seed | 0, first), second);

// The images that every resample draws, one resample after the other.
function drawn(count, resamples, seed) {
  const name = `${count} ${resamples} ${seed}`;
  if (!resamplings.has(name)) {
    const images = new (count < 65536 ? Uint16Array : Uint32Array)(count * resamples);
    for (let b = 0, at = 0; b < resamples; b += 1) {
      const state = mixed(seed | 0, b);
      for (let i = 0; i < count; i += 1, at += 1) images[at] = Math.floor((finished(state, i) * count) / 4294967296);
    }
    if (resamplings.size >= RESAMPLINGS_HELD) resamplings.delete(resamplings.keys().next().value);
    resamplings.set(name, images);
  }
  return resamplings.get(name);
}

// The rows of a table by image.
class Clusters {
  constructor(images, options) {
    const numbers = new Map();
    for (const image of images) if (!numbers.has(image)) numbers.set(image, numbers.size);
    this.names = [...numbers.keys()];
    this.owners = Uint32Array.from(images, (image) => numbers.get(image));
    this.count = numbers.size;
    this.options = options;
    this.sizes = this.sums(new Float64Array(images.length).fill(1));
    this.single = this.count === images.length;
  }

  sums(values) {
    const found = new Float64Array(this.count);
    for (let i = 0; i < this.owners.length; i += 1) found[this.owners[i]] += values[i];
    return found;
  }

  // The rows of each image.
  get rows() {
    if (!this.rowsKnown) {
      this.rowsKnown = Array.from({ length: this.count }, () => []);
      this.owners.forEach((owner, row) => this.rowsKnown[owner].push(row));
    }
    return this.rowsKnown;
  }

  get draws() {
    return drawn(this.count, this.options.resamples, this.options.constants.seed);
  }
}
