// A general BLAS picks other kernels for other row counts, which changes the last bits of a row with its
// batch mates. Here every element is one dot product along k in one fixed order.
#include "exact-linear.h"

#include <algorithm>

#include "parallel.h"
#include "simd.h"

namespace shadow {
namespace {

template <int R, int C>
void tile(int k, const float* x, const float* w, float* y, long ldy, bool accumulate) {
  vec acc[R][C] = {};
  int p = 0;
  for (; p + kLanes <= k; p += kLanes) {
    vec column[C];
    for (int c = 0; c < C; c++) column[c] = load(w + (long)c * k + p);
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
  for (int r = 0; r < R; r++)
    for (int c = 0; c < C; c++) {
      float* out = y + r * ldy + c;
      *out = accumulate ? *out + sum(acc[r][c]) : sum(acc[r][c]);
    }
}

template <int C>
void row_panel(int m, int n, int k, const float* x, const float* w, float* y, bool accumulate) {
  int i = 0;
  for (; i + 6 <= m; i += 6) tile<6, C>(k, x + (long)i * k, w, y + (long)i * n, n, accumulate);
  for (; i + 2 <= m; i += 2) tile<2, C>(k, x + (long)i * k, w, y + (long)i * n, n, accumulate);
  for (; i < m; i++) tile<1, C>(k, x + (long)i * k, w, y + (long)i * n, n, accumulate);
}

}  // namespace

void exact_linear(int m, int n, int k, const float* x, const float* w, float* y, bool accumulate) {
  const int row_block = std::max(6, 98304 / k / 6 * 6);  // rows of x that stay in the second-level cache
  const int block = 32;
  for (int i0 = 0; i0 < m; i0 += row_block) {
    const int count = std::min(row_block, m - i0);
    parallel_for((n + block - 1) / block, [&](int task) {
      const int end = std::min(n, (task + 1) * block);
      int j = task * block;
      for (; j + 4 <= end; j += 4)
        row_panel<4>(count, n, k, x + (long)i0 * k, w + (long)j * k, y + (long)i0 * n + j, accumulate);
      for (; j < end; j++)
        row_panel<1>(count, n, k, x + (long)i0 * k, w + (long)j * k, y + (long)i0 * n + j, accumulate);
    });
  }
}

}  // namespace shadow
