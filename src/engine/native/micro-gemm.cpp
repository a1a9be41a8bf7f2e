#include "micro-gemm.h"

#include <algorithm>

#include "parallel.h"
#include "simd.h"

namespace shadow {
namespace {

/** One register tile: R rows by V vectors. `tail` < 16 lanes of the last vector are real when nonzero. */
template <int R, int V>
void tile(int k, float alpha, Strided a, const float* b, long ldb, float* c, long ldc, bool accumulate, int tail) {
  vec acc[R][V] = {};
  for (int p = 0; p < k; p++) {
    vec row[V];
    for (int v = 0; v < V - 1; v++) row[v] = load(b + p * ldb + v * kLanes);
    const float* last = b + p * ldb + (V - 1) * kLanes;
    row[V - 1] = tail ? load_part(last, tail) : load(last);
    for (int r = 0; r < R; r++) {
      vec x = splat(a.data[r * a.row + p * a.column]);
      for (int v = 0; v < V; v++) acc[r][v] += x * row[v];
    }
  }
  for (int r = 0; r < R; r++) {
    for (int v = 0; v < V; v++) {
      float* out = c + r * ldc + v * kLanes;
      bool part = tail && v == V - 1;
      vec value = acc[r][v] * alpha;
      if (accumulate) value += part ? load_part(out, tail) : load(out);
      if (part) {
        store_part(out, value, tail);
      } else {
        store(out, value);
      }
    }
  }
}

template <int R, int V>
void column_panel(int m, int k, float alpha, Strided a, const float* b, long ldb, float* c, long ldc,
                  bool accumulate, int tail) {
  int i = 0;
  for (; i + R <= m; i += R)
    tile<R, V>(k, alpha, {a.data + i * a.row, a.row, a.column}, b, ldb, c + i * ldc, ldc, accumulate, tail);
  for (; i < m; i++)
    tile<1, V>(k, alpha, {a.data + i * a.row, a.row, a.column}, b, ldb, c + i * ldc, ldc, accumulate, tail);
}

}  // namespace

void micro_gemm(int m, int n, int k, float alpha, Strided a, const float* b, long ldb, float* c, long ldc,
                bool accumulate) {
  int j = 0;
  for (; j + 64 <= n; j += 64) column_panel<6, 4>(m, k, alpha, a, b + j, ldb, c + j, ldc, accumulate, 0);
  for (; j + 48 <= n; j += 48) column_panel<8, 3>(m, k, alpha, a, b + j, ldb, c + j, ldc, accumulate, 0);
  for (; j + 32 <= n; j += 32) column_panel<8, 2>(m, k, alpha, a, b + j, ldb, c + j, ldc, accumulate, 0);
  for (; j + 16 <= n; j += 16) column_panel<16, 1>(m, k, alpha, a, b + j, ldb, c + j, ldc, accumulate, 0);
  if (j < n) column_panel<8, 1>(m, k, alpha, a, b + j, ldb, c + j, ldc, accumulate, n - j);
}

void parallel_gemm(int m, int n, int k, float alpha, Strided a, const float* b, long ldb, float* c, long ldc,
                   bool accumulate) {
  if (m >= 96) {
    int block = 48;
    parallel_for((m + block - 1) / block, [&](int task) {
      int i = task * block;
      micro_gemm(std::min(block, m - i), n, k, alpha, {a.data + i * a.row, a.row, a.column}, b, ldb, c + i * ldc,
                 ldc, accumulate);
    });
    return;
  }
  int block = 64;
  parallel_for((n + block - 1) / block, [&](int task) {
    int j = task * block;
    micro_gemm(m, std::min(block, n - j), k, alpha, a, b + j, ldb, c + j, ldc, accumulate);
  });
}

void transpose(int rows, int columns, const float* in, long ld_in, float* out, long ld_out) {
  for (int r0 = 0; r0 < rows; r0 += 16)
    for (int c0 = 0; c0 < columns; c0 += 16)
      for (int r = r0; r < std::min(rows, r0 + 16); r++)
        for (int c = c0; c < std::min(columns, c0 + 16); c++) out[c * ld_out + r] = in[r * ld_in + c];
}

}  // namespace shadow
