// Attention of generation: keys and values live in preallocated slots, one per running sequence. Keys of sixteen
// positions lie side by side, dimension by dimension, so that a query meets sixteen at once and nothing is added up
// across lanes; the query heads that share a key head read it together.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "parallel.h"
#include "primitive.h"
#include "row-kernels.h"
#include "row-panels.h"
#include "simd.h"

namespace shadow {
namespace {

int blocks_of(int positions) { return (positions + kLanes - 1) / kLanes; }

}  // namespace

KvCache::KvCache(int layers, int slots, int positions, int heads, int dim)
    : layers(layers), slots(slots), positions(positions), heads(heads), dim(dim) {
  require(layers > 0 && slots > 0 && positions > 0 && heads > 0 && dim > 0, "kvCache: sizes must be positive");
  size_t n = bytes() / 2 / sizeof(float);
  // Uninitialised on purpose: the system hands out pages only as positions are first written.
  keys_.reset(new float[n]);
  values_.reset(new float[n]);
}

size_t KvCache::bytes() const { return 2 * sizeof(float) * offset(layers, 0, 0); }
size_t KvCache::offset(int layer, int slot, int head) const {
  return (((size_t)layer * slots + slot) * heads + head) * blocks_of(positions) * kLanes * dim;
}
float* KvCache::keys(int layer, int slot, int head) { return keys_.get() + offset(layer, slot, head); }
float* KvCache::values(int layer, int slot, int head) { return values_.get() + offset(layer, slot, head); }

void KvCache::put(int layer, int slot, int head, int position, const float* key, const float* value) {
  float* block = keys(layer, slot, head) + (size_t)position / kLanes * kLanes * dim + position % kLanes;
  for (int d = 0; d < dim; d++) block[d * kLanes] = key[d];
  std::memcpy(values(layer, slot, head) + (size_t)position * dim, value, sizeof(float) * dim);
}

void KvCache::copy_prefix(int from, int to, int length) {
  require(from >= 0 && from < slots && to >= 0 && to < slots && length >= 0 && length <= positions,
          "kvCache: slot or length out of range");
  if (from == to) return;
  const size_t bytes = sizeof(float) * blocks_of(length) * kLanes * dim;
  for (int layer = 0; layer < layers; layer++)
    for (int head = 0; head < heads; head++) {
      std::memcpy(keys(layer, to, head), keys(layer, from, head), bytes);
      std::memcpy(values(layer, to, head), values(layer, from, head), sizeof(float) * length * dim);
    }
}

namespace {

/** scores[g][16 · block + lane] = q_g · key for B neighbouring blocks; rows of scores are ld apart. */
template <int G, int B>
void score_blocks(const float* q, int dim, const float* keys, float scale, float* scores, long ld) {
  native acc[G][B][kParts] = {};
  for (int d = 0; d < dim; d++)
    for (int b = 0; b < B; b++)
      for (int part = 0; part < kParts; part++) {
        const native key = pinned(load_native(keys + ((long)b * dim + d) * kLanes + part * kNativeLanes));
        for (int g = 0; g < G; g++) acc[g][b][part] += q[g * dim + d] * key;
      }
  for (int g = 0; g < G; g++)
    for (int b = 0; b < B; b++)
      for (int part = 0; part < kParts; part++)
        store_native(scores + g * ld + b * kLanes + part * kNativeLanes, acc[g][b][part] * scale);
}

/** Scores become weights that add up to 1. */
void softmax(float* scores, int length) {
  vec top = splat(-INFINITY);
  int j = 0;
  for (; j + kLanes <= length; j += kLanes) top = max(top, load(scores + j));
  if (j < length) top = max(top, load_part(scores + j, length - j, -INFINITY));
  const float maximum = max_lane(top);
  vec totals{};
  for (j = 0; j + kLanes <= length; j += kLanes) {
    const vec e = exp(load(scores + j) - maximum);
    store(scores + j, e);
    totals += e;
  }
  float total = sum(totals);
  if (j < length) {
    store_part(scores + j, exp(load_part(scores + j, length - j) - maximum), length - j);
    for (; j < length; j++) total += scores[j];
  }
  const float inverse = 1 / total;
  for (j = 0; j < length; j++) scores[j] *= inverse;
}

/** out[g][d …] = Σ_j weights[g][j] · values[j][d …] for V registers of dimensions. */
template <int G, int V>
void mix(const float* weights, long ld, int length, const float* values, int dim, float* out) {
  native acc[G][V] = {};
  for (int j = 0; j < length; j++) {
    native value[V];
    for (int v = 0; v < V; v++) value[v] = pinned(load_native(values + (size_t)j * dim + v * kNativeLanes));
    for (int g = 0; g < G; g++)
      for (int v = 0; v < V; v++) acc[g][v] += weights[g * ld + j] * value[v];
  }
  for (int g = 0; g < G; g++)
    for (int v = 0; v < V; v++) store_native(out + g * dim + v * kNativeLanes, acc[g][v]);
}

/** G query heads of one row over positions [first, end) of one key head. */
template <int G>
void attend(const float* q, const float* keys, const float* values, int first, int end, int dim, float scale,
            float* out) {
  // As many blocks at a time as keep enough sums under way.
  constexpr int B = G == 1 ? 4 : G == 2 || kVectors >= 8 ? 2 : 1;
  const int block = first / kLanes, blocks = blocks_of(end) - block;
  const long ld = (long)blocks * kLanes;
  float* scores = scratch((size_t)G * ld);
  const float* from = keys + (size_t)block * kLanes * dim;
  int b = 0;
  for (; b + B <= blocks; b += B) score_blocks<G, B>(q, dim, from + (size_t)b * kLanes * dim, scale, scores + b * kLanes, ld);
  for (; b < blocks; b++) score_blocks<G, 1>(q, dim, from + (size_t)b * kLanes * dim, scale, scores + b * kLanes, ld);
  float* weights = scores + first - block * kLanes;
  const int length = end - first;
  for (int g = 0; g < G; g++) softmax(weights + g * ld, length);
  values += (size_t)first * dim;
  int d = 0;
  for (; d + 4 * kNativeLanes <= dim; d += 4 * kNativeLanes) mix<G, 4>(weights, ld, length, values + d, dim, out + d);
  for (; d + kNativeLanes <= dim; d += kNativeLanes) mix<G, 1>(weights, ld, length, values + d, dim, out + d);
  for (; d < dim; d++)
    for (int g = 0; g < G; g++) {
      float total = 0;
      for (int j = 0; j < length; j++) total += weights[g * ld + j] * values[(size_t)j * dim + d];
      out[g * dim + d] = total;
    }
}

/** Three heads at a time, whose sums still fit the registers beside keys and values. */
void attend_group(int group, const float* q, const float* keys, const float* values, int first, int end, int dim,
                  float scale, float* out) {
  int g = 0;
  for (; g + 3 <= group; g += 3) attend<3>(q + g * dim, keys, values, first, end, dim, scale, out + g * dim);
  if (group - g == 2) attend<2>(q + g * dim, keys, values, first, end, dim, scale, out + g * dim);
  if (group - g == 1) attend<1>(q + g * dim, keys, values, first, end, dim, scale, out + g * dim);
}

}  // namespace

void cached_attention(const float* qkv, int n, KvCache& cache, int layer, const int* slots, const int* positions,
                      Heads heads, float scale, int window, float* out) {
  const int dim = heads.dim, columns = (heads.query + 2 * heads.key) * dim, group = heads.query / heads.key;
  for (int r = 0; r < n; r++)
    for (int h = 0; h < heads.key; h++) {
      const float* key = qkv + (long)r * columns + (heads.query + h) * dim;
      cache.put(layer, slots[r], h, positions[r], key, key + heads.key * dim);
    }
  parallel_for(n * heads.key, [&](int task) {
    const int r = task / heads.key, h = task % heads.key;
    const int end = positions[r] + 1, first = window > 0 ? std::max(0, end - window) : 0;
    attend_group(group, qkv + (long)r * columns + h * group * dim, cache.keys(layer, slots[r], h),
                 cache.values(layer, slots[r], h), first, end, dim, scale,
                 out + ((long)r * heads.query + h * group) * dim);
  });
}

}  // namespace shadow
