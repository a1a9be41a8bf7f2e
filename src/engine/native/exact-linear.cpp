// A general BLAS picks other kernels for other row counts, which changes the last bits of a row with its
// batch mates. Here every element is one dot product along k in one fixed order.
#include "exact-linear.h"

#include <algorithm>
#include <vector>

#include "parallel.h"
#include "simd.h"

namespace shadow {
namespace {

/** Vectors a and b folded once: each half of the result holds one of them. */
inline vec fold_halves(vec a, vec b) {
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
         __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
}
inline vec fold_quarters(vec a, vec b) {
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
         __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
}
inline vec fold_pairs(vec a, vec b) {
  return __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +
         __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
}

/** The sums of eight vectors, each in the order of `sum`: eight share the registers that one would half fill. */
inline void sum_eight(const vec* v, float* out) {
  const vec low = fold_quarters(fold_halves(v[0], v[1]), fold_halves(v[2], v[3]));
  const vec high = fold_quarters(fold_halves(v[4], v[5]), fold_halves(v[6], v[7]));
  vec all = fold_pairs(low, high);
  all += swap_neighbours(all);
  // Quarters hold vectors 0, 1, 2 and 3, and behind each the one four further.
  const vec ordered = __builtin_shufflevector(all, all, 0, 4, 8, 12, 2, 6, 10, 14, 0, 0, 0, 0, 0, 0, 0, 0);
  for (int i = 0; i < 8; i++) out[i] = ordered[i];
}

template <int R, int C>
void tile(int k, const float* x, const float* w, float* y, long ldy) {
  vec acc[R][C] = {};
  int p = 0;
  for (; p + kLanes <= k; p += kLanes) {
    vec column[C];
    for (int c = 0; c < C; c++) {
      column[c] = load(w + (long)c * k + p);
      pin(column[c]);
      // The next columns come from memory while these are multiplied from the cache.
      __builtin_prefetch(w + (long)(c + C) * k + p);
    }
    for (int r = 0; r < R; r++) {
      vec row = load(x + (long)r * k + p);
      for (int c = 0; c < C; c++) acc[r][c] += row * column[c];
    }
  }
  if (p < k) {
    vec column[C];
    for (int c = 0; c < C; c++) column[c] = load_part(w + (long)c * k + p, k - p);
    for (int r = 0; r < R; r++) {
      vec row = load_part(x + (long)r * k + p, k - p);
      for (int c = 0; c < C; c++) acc[r][c] += row * column[c];
    }
  }
  float sums[R * C];
  if constexpr (R * C % 8 == 0) {
    for (int i = 0; i < R * C; i += 8) sum_eight(&acc[0][0] + i, sums + i);
  } else {
    for (int r = 0; r < R; r++)
      for (int c = 0; c < C; c++) sums[r * C + c] = sum(acc[r][c]);
  }
  for (int r = 0; r < R; r++)
    for (int c = 0; c < C; c++) y[r * ldy + c] = sums[r * C + c];
}

template <int C>
void row_panel(int m, int k, const float* x, const float* w, float* y, long ldy) {
  int i = 0;
  for (; i + 4 <= m; i += 4) tile<4, C>(k, x + (long)i * k, w, y + i * ldy, ldy);
  for (; i < m; i++) tile<1, C>(k, x + (long)i * k, w, y + i * ldy, ldy);
}

}  // namespace

void exact_linear(int m, int n, int k, const float* x, const float* w, float* y, long ldy, bool accumulate) {
  constexpr int kBlock = 48;
  const int row_block = std::max(4, 98304 / k / 4 * 4);  // rows of x that stay in the second-level cache
  for (int i0 = 0; i0 < m; i0 += row_block) {
    const int count = std::min(row_block, m - i0);
    auto block = [&](int task) {
      const int begin = task * kBlock, columns = std::min(kBlock, n - begin);
      // Gathered here first: writing a few columns of many far-apart rows would miss the cache each time.
      std::vector<float> local((size_t)count * kBlock);
      const float* rows = x + (long)i0 * k;
      int j = 0;
      for (; j + 6 <= columns; j += 6) row_panel<6>(count, k, rows, w + (long)(begin + j) * k, local.data() + j, kBlock);
      for (; j < columns; j++) row_panel<1>(count, k, rows, w + (long)(begin + j) * k, local.data() + j, kBlock);
      for (int i = 0; i < count; i++) {
        float* out = y + (i0 + i) * ldy + begin;
        const float* from = local.data() + (size_t)i * kBlock;
        for (int c = 0; c < columns; c++) out[c] = accumulate ? out[c] + from[c] : from[c];
      }
    };
    const int blocks = (n + kBlock - 1) / kBlock;
    // Waking another thread costs more than a low-rank product of a few rows.
    if (static_cast<double>(count) * n * k < 1.5e6) {
      for (int task = 0; task < blocks; task++) block(task);
    } else {
      parallel_for(blocks, block);
    }
  }
}

}  // namespace shadow
