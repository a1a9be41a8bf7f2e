#include "micro-gemm.h"

#include <algorithm>
#include <cstring>

#include "parallel.h"
#include "simd.h"

namespace shadow {
namespace {

/** Rows of a tile that is one vector wide: registers stay free for a row of b and an element of a. */
constexpr int kRows = kVectors >= 32 ? 16 : kVectors - 2;

/** One register tile: R rows by V vectors. PART: of the last vector only `tail` lanes are real. */
template <int R, int V, bool PART>
void tile(int k, float alpha, Strided a, const float* b, long ldb, float* c, long ldc, bool accumulate, int tail) {
  constexpr int N = V * kParts;
  native acc[R][N] = {};
  for (int p = 0; p < k; p++) {
    native row[N];
    float last[kLanes] = {};
    if constexpr (PART) std::memcpy(last, b + (V - 1) * kLanes, sizeof(float) * tail);
    for (int v = 0; v < N; v++) {
      const bool cut = PART && v >= N - kParts;
      row[v] = pinned(load_native(cut ? last + (v - N + kParts) * kNativeLanes : b + v * kNativeLanes));
    }
    for (int r = 0; r < R; r++) {
      const native x = a.data[r * a.row] - native{};
      for (int v = 0; v < N; v++) acc[r][v] += x * row[v];
    }
    b += ldb;
    a.data += a.column;
  }
  for (int r = 0; r < R; r++)
    for (int v = 0; v < V; v++) {
      float* out = c + r * ldc + v * kLanes;
      vec value = join(acc[r] + v * kParts) * alpha;
      if (PART && v == V - 1) {
        if (accumulate) value += load_part(out, tail);
        store_part(out, value, tail);
      } else {
        if (accumulate) value += load(out);
        store(out, value);
      }
    }
}

/** Floats of b that are worth a copy: half of a first-level cache. */
constexpr int kPackedFloats = 4096;

template <int R, int V, bool PART = false>
void column_panel(int m, int k, float alpha, Strided a, const float* b, long ldb, float* c, long ldc,
                  bool accumulate, int tail = 0) {
  constexpr int columns = V * kLanes;
  float packed[kPackedFloats];
  // Rows that are far apart share the sets of a cache, and several tiles read them.
  if (!PART && ldb > columns && m > R && k * columns <= kPackedFloats) {
    for (int p = 0; p < k; p++) std::memcpy(packed + p * columns, b + p * ldb, sizeof(float) * columns);
    b = packed;
    ldb = columns;
  }
  auto at = [&](int i) { return Strided{a.data + i * a.row, a.row, a.column}; };
  int i = 0;
  for (; i + R <= m; i += R) tile<R, V, PART>(k, alpha, at(i), b, ldb, c + i * ldc, ldc, accumulate, tail);
  if constexpr (R > 4)
    for (; i + 4 <= m; i += 4) tile<4, V, PART>(k, alpha, at(i), b, ldb, c + i * ldc, ldc, accumulate, tail);
  for (; i + 2 <= m; i += 2) tile<2, V, PART>(k, alpha, at(i), b, ldb, c + i * ldc, ldc, accumulate, tail);
  for (; i < m; i++) tile<1, V, PART>(k, alpha, at(i), b, ldb, c + i * ldc, ldc, accumulate, tail);
}

}  // namespace

void micro_gemm(int m, int n, int k, float alpha, Strided a, const float* b, long ldb, float* c, long ldc,
                bool accumulate) {
  int j = 0;
  if constexpr (kVectors >= 32) {
    for (; j + 64 <= n; j += 64) column_panel<6, 4>(m, k, alpha, a, b + j, ldb, c + j, ldc, accumulate);
    for (; j + 48 <= n; j += 48) column_panel<8, 3>(m, k, alpha, a, b + j, ldb, c + j, ldc, accumulate);
    for (; j + 32 <= n; j += 32) column_panel<8, 2>(m, k, alpha, a, b + j, ldb, c + j, ldc, accumulate);
  }
  for (; j + 16 <= n; j += 16) column_panel<kRows, 1>(m, k, alpha, a, b + j, ldb, c + j, ldc, accumulate);
  if (j < n) column_panel<kRows, 1, true>(m, k, alpha, a, b + j, ldb, c + j, ldc, accumulate, n - j);
}

void parallel_gemm(int m, int n, int k, float alpha, Strided a, const float* b, long ldb, float* c, long ldc,
                   bool accumulate) {
  if (m >= 96) {
    int block = 48;
    parallel_for((m + block - 1) / block, [&](int task) {
      int i = task * block;
      micro_gemm(std::min(block, m - i), n, k, alpha, {a.data + i * a.row, a.row, a.column}, b, ldb, c + i * ldc, ldc, accumulate);
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
