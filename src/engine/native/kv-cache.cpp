// Attention of generation: keys and values live in preallocated slots, one per running sequence.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "parallel.h"
#include "primitive.h"
#include "row-kernels.h"
#include "row-panels.h"
#include "simd.h"

namespace shadow {

KvCache::KvCache(int layers, int slots, int positions, int heads, int dim)
    : layers(layers), slots(slots), positions(positions), heads(heads), dim(dim) {
  require(layers > 0 && slots > 0 && positions > 0 && heads > 0 && dim > 0, "kvCache: sizes must be positive");
  size_t n = bytes() / 2 / sizeof(float);
  // Uninitialised on purpose: the system hands out pages only as positions are first written.
  keys_.reset(new float[n]);
  values_.reset(new float[n]);
}

size_t KvCache::bytes() const { return 2 * sizeof(float) * layers * slots * heads * (size_t)positions * dim; }
size_t KvCache::offset(int layer, int slot, int head) const {
  return (((size_t)layer * slots + slot) * heads + head) * positions * dim;
}
float* KvCache::keys(int layer, int slot, int head) { return keys_.get() + offset(layer, slot, head); }
float* KvCache::values(int layer, int slot, int head) { return values_.get() + offset(layer, slot, head); }

void KvCache::copy_prefix(int from, int to, int length) {
  require(from >= 0 && from < slots && to >= 0 && to < slots && length >= 0 && length <= positions,
          "kvCache: slot or length out of range");
  if (from == to) return;
  for (int layer = 0; layer < layers; layer++)
    for (int head = 0; head < heads; head++) {
      std::memcpy(keys(layer, to, head), keys(layer, from, head), sizeof(float) * length * dim);
      std::memcpy(values(layer, to, head), values(layer, from, head), sizeof(float) * length * dim);
    }
}

namespace {

/** out = softmax(scale · q·Kᵀ)·V over the first `length` positions. scores is scratch of that length. */
void attend(const float* q, const float* keys, const float* values, int length, int dim, float scale, float* scores,
            float* out) {
  float maximum = -INFINITY;
  for (int j = 0; j < length; j++) {
    vec acc{};
    int d = 0;
    for (; d + kLanes <= dim; d += kLanes) acc += load(q + d) * load(keys + (size_t)j * dim + d);
    float dot = sum(acc);
    for (; d < dim; d++) dot += q[d] * keys[(size_t)j * dim + d];
    scores[j] = dot * scale;
    maximum = std::max(maximum, scores[j]);
  }
  vec totals{};
  int j = 0;
  for (; j + kLanes <= length; j += kLanes) {
    vec e = exp(load(scores + j) - maximum);
    store(scores + j, e);
    totals += e;
  }
  float total = sum(totals);
  if (j < length) {
    store_part(scores + j, exp(load_part(scores + j, length - j) - maximum), length - j);
    for (; j < length; j++) total += scores[j];
  }
  const float inverse = 1 / total;
  int d = 0;
  for (; d + 64 <= dim; d += 64) {
    vec acc[4] = {};
    for (j = 0; j < length; j++)
      for (int v = 0; v < 4; v++) acc[v] += scores[j] * load(values + (size_t)j * dim + d + v * kLanes);
    for (int v = 0; v < 4; v++) store(out + d + v * kLanes, acc[v] * inverse);
  }
  for (; d + kLanes <= dim; d += kLanes) {
    vec acc{};
    for (j = 0; j < length; j++) acc += scores[j] * load(values + (size_t)j * dim + d);
    store(out + d, acc * inverse);
  }
  for (; d < dim; d++) {
    float acc = 0;
    for (j = 0; j < length; j++) acc += scores[j] * values[(size_t)j * dim + d];
    out[d] = acc * inverse;
  }
}

}  // namespace

void cached_attention(const float* qkv, int n, KvCache& cache, int layer, const int* slots, const int* positions,
                      Heads heads, float scale, int window, float* out) {
  const int dim = heads.dim, columns = (heads.query + 2 * heads.key) * dim, group = heads.query / heads.key;
  for (int r = 0; r < n; r++)
    for (int h = 0; h < heads.key; h++) {
      const float* key = qkv + (long)r * columns + (heads.query + h) * dim;
      const size_t at = (size_t)positions[r] * dim;
      std::memcpy(cache.keys(layer, slots[r], h) + at, key, sizeof(float) * dim);
      std::memcpy(cache.values(layer, slots[r], h) + at, key + heads.key * dim, sizeof(float) * dim);
    }
  parallel_for(n * heads.key, [&](int task) {
    const int r = task / heads.key, h = task % heads.key;
    const int first = window > 0 ? std::max(0, positions[r] + 1 - window) : 0;
    const int length = positions[r] + 1 - first;
    const size_t skipped = (size_t)first * dim;
    float* scores = scratch(length);
    for (int g = 0; g < group; g++) {
      const int head = h * group + g;
      attend(qkv + (long)r * columns + head * dim, cache.keys(layer, slots[r], h) + skipped,
             cache.values(layer, slots[r], h) + skipped, length, dim, scale, scores,
             out + ((long)r * heads.query + head) * dim);
    }
  });
}

}  // namespace shadow
