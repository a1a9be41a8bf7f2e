// A general BLAS picks other kernels for other row counts, which changes the last bits of a row with its
// batch mates. Here every element is one dot product along k in one fixed order.
#include "exact-linear.h"

#include <algorithm>
#include <vector>

#include "parallel.h"
#include "simd.h"

namespace shadow {
namespace {

#if defined(__AVX512F__)

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
  all += __builtin_shufflevector(all, all, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
  // Quarters hold vectors 0, 1, 2 and 3, and behind each the one four further.
  const vec ordered = __builtin_shufflevector(all, all, 0, 4, 8, 12, 2, 6, 10, 14, 0, 0, 0, 0, 0, 0, 0, 0);
  store_part(out, ordered, 8);
}

#endif

template <int N>
inline void sum_each(const vec* v, float* out) {
#if defined(__AVX512F__)
  if constexpr (N % 8 == 0) {
    for (int i = 0; i < N; i += 8) sum_eight(v + i, out + i);
    return;
  }
#endif
  for (int i = 0; i < N; i++) out[i] = sum(v[i]);
}

/** R rows of x by C rows of w in registers, one register of a vector at a time, so that few loads feed many sums. */
template <int R, int C>
void tile(int k, const float* x, const float* w, float* y, long ldy) {
  native acc[kParts][R][C] = {};
  int p = 0;
  for (; p + kLanes <= k; p += kLanes) {
    // The next columns come from memory while these are multiplied from the cache.
    for (int c = 0; c < C; c++) __builtin_prefetch(w + (long)(c + C) * k + p);
    for (int part = 0; part < kParts; part++) {
      const int at = p + part * kNativeLanes;
      native column[C];
      for (int c = 0; c < C; c++) {
        column[c] = load_native(w + (long)c * k + at);
        pin(column[c]);
      }
      for (int r = 0; r < R; r++) {
        const native row = load_native(x + (long)r * k + at);
        for (int c = 0; c < C; c++) acc[part][r][c] += row * column[c];
      }
    }
  }
  vec whole[R * C];
  for (int r = 0; r < R; r++)
    for (int c = 0; c < C; c++) {
      native of_sum[kParts];
      for (int part = 0; part < kParts; part++) of_sum[part] = acc[part][r][c];
      whole[r * C + c] = join(of_sum);
    }
  if (p < k)
    for (int r = 0; r < R; r++) {
      const vec row = load_part(x + (long)r * k + p, k - p);
      for (int c = 0; c < C; c++) whole[r * C + c] += row * load_part(w + (long)c * k + p, k - p);
    }
  float sums[R * C];
  sum_each<R * C>(whole, sums);
  for (int r = 0; r < R; r++)
    for (int c = 0; c < C; c++) y[r * ldy + c] = sums[r * C + c];
}

/** A tile's sums leave room in the registers for what they are made of. */
constexpr int kRows = kVectors >= 32 ? 4 : 2, kColumns = kVectors >= 32 ? 6 : kVectors >= 8 ? 3 : 1;

template <int C>
void row_panel(int m, int k, const float* x, const float* w, float* y, long ldy) {
  int i = 0;
  for (; i + kRows <= m; i += kRows) tile<kRows, C>(k, x + (long)i * k, w, y + i * ldy, ldy);
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
      for (; j + kColumns <= columns; j += kColumns)
        row_panel<kColumns>(count, k, rows, w + (long)(begin + j) * k, local.data() + j, kBlock);
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
