// A general BLAS picks other kernels for other row counts, which changes the last bits of a row with its batch mates.
// Here every element is summed along k in order, sixteen rows of the weight side by side: nothing is added up across
// lanes. Few rows of x are multiplied with codes in registers; for more, codes are decoded once into a panel.
#include "exact-linear.h"

#include <algorithm>
#include <vector>

#include "packed-codes.h"
#include "parallel.h"
#include "row-panels.h"
#include "squares.h"

namespace shadow {
namespace {

/** Columns of a panel that stay in the first-level cache; more where a group is longer. */
constexpr int kDepth = 256;
/** Panels of one task: few, so that threads finish together. */
constexpr int kTaskPanels = 2;
/** Rows of a tile: their sums, a row of the panel and an element of x share the registers. */
constexpr int kTileRows = kVectors >= 32 ? 16 : kVectors - 2;

inline void finish(float* y, vec sum, int lanes, bool accumulate) {
  if (lanes == kLanes) store(y, accumulate ? load(y) + sum : sum);
  else store_part(y, accumulate ? load_part(y, lanes) + sum : sum, lanes);
}

/** sums[r, 16] += x[r, depth] · panel, from zero where `first`. */
template <int R>
void tile(int depth, const float* x, long ldx, const float* panel, float* sums, bool first) {
  native acc[R][kParts];
  for (int r = 0; r < R; r++)
    for (int part = 0; part < kParts; part++)
      acc[r][part] = first ? native{} : load_native(sums + r * kLanes + part * kNativeLanes);
  for (int i = 0; i < depth; i++, panel += kPanelRows) {
    native row[kParts];
    for (int part = 0; part < kParts; part++) row[part] = pinned(load_native(panel + part * kNativeLanes));
    for (int r = 0; r < R; r++) {
      const native element = x[r * ldx + i] - native{};
      for (int part = 0; part < kParts; part++) acc[r][part] += element * row[part];
    }
  }
  for (int r = 0; r < R; r++)
    for (int part = 0; part < kParts; part++)
      store_native(sums + r * kLanes + part * kNativeLanes, acc[r][part]);
}

/** All rows of x by one panel, the largest tiles first. */
template <int R>
int tiles(int m, int i, int depth, const float* x, long ldx, const float* panel, float* sums, bool first) {
  for (; i + R <= m; i += R) tile<R>(depth, x + i * ldx, ldx, panel, sums + i * kLanes, first);
  if constexpr (R > 1) return tiles<(R > 8 ? 8 : R > 4 ? 4 : R > 2 ? 2 : 1)>(m, i, depth, x, ldx, panel, sums, first);
  return i;
}

void multiply_panel(const FrozenMatrix& w, int panel, int m, const float* x, float* y, long ldy, bool accumulate) {
  const int k = w.columns, group = std::max(1, w.packing.group);
  const int depth = w.packing.bits == 4 || w.packing.bits == 8 ? std::max(group, kDepth / group * group) : kDepth;
  float* room = scratch((size_t)depth * kPanelRows + (size_t)m * kLanes);
  float* sums = room + (size_t)depth * kPanelRows;
  for (int p = 0; p < k; p += depth) {
    const int some = std::min(depth, k - p);
    fill_panel(w, panel, p, some, room, kPanelRows);
    tiles<kTileRows>(m, 0, some, x + p, k, room, sums, p == 0);
  }
  const int lanes = std::min(kPanelRows, w.rows - panel * kPanelRows);
  for (int i = 0; i < m; i++)
    finish(y + i * ldy + panel * kPanelRows, load(sums + i * kLanes), lanes, accumulate);
}

/** M rows of x by P full panels of codes, decoded in registers. */
template <int BITS, int M, int P>
void multiply_codes(const FrozenMatrix& w, int panel, const float* x, float* y, long ldy, bool accumulate) {
  const int k = w.columns, group = w.packing.group;
  const PackedPanel panels[] = {{w, panel}, {w, panel + P - 1}};
  vec acc[M][P] = {};
  for (int g = 0; g < k / group; g++) {
    vec scale[P], bias[P];
    for (int p = 0; p < P; p++) {
      scale[p] = read_scales(panels[p].scales + g * panels[p].of_group, w.packing.scales);
      bias[p] = read_scales(panels[p].biases + g * panels[p].of_group, w.packing.scales);
    }
    for (int i = g * group; i < (g + 1) * group; i += 2)
      for (int p = 0; p < P; p++) {
        vec first, second;
        read_codes<BITS>(panels[p].codes, i, first, second);
        first = first * scale[p] + bias[p];
        second = second * scale[p] + bias[p];
        for (int r = 0; r < M; r++) {
          acc[r][p] += x[(long)r * k + i] * first;
          acc[r][p] += x[(long)r * k + i + 1] * second;
        }
      }
  }
  for (int r = 0; r < M; r++)
    for (int p = 0; p < P; p++) finish(y + r * ldy + (panel + p) * kPanelRows, acc[r][p], kLanes, accumulate);
}

/** M rows of x by one panel of plain rows, transposed in registers. */
template <int M, class Element>
void multiply_rows(const Element* rows, int k, const float* x, float* y, long ldy, bool accumulate) {
  native acc[M][kParts] = {};
  int i = 0;
  for (; i + kNativeLanes <= k; i += kNativeLanes)
    for (int part = 0; part < kParts; part++) {
      native columns[kNativeLanes];
      read_square(rows + (long)part * kNativeLanes * k + i, k, columns);
      for (int j = 0; j < kNativeLanes; j++)
        for (int r = 0; r < M; r++) acc[r][part] += x[(long)r * k + i + j] * columns[j];
    }
  for (; i < k; i++)
    for (int part = 0; part < kParts; part++) {
      float column[kNativeLanes];
      for (int j = 0; j < kNativeLanes; j++) column[j] = read_one(rows + (long)(part * kNativeLanes + j) * k + i);
      for (int r = 0; r < M; r++) acc[r][part] += x[(long)r * k + i] * load_native(column);
    }
  for (int r = 0; r < M; r++) finish(y + r * ldy, join(acc[r]), kLanes, accumulate);
}

template <int M>
void multiply_plain(const FrozenMatrix& w, int panel, const float* x, float* y, long ldy, bool accumulate) {
  const size_t at = (size_t)panel * kPanelRows * w.columns;
  y += panel * kPanelRows;
  if (w.packing.bits == 16) multiply_rows<M>(w.bf16() + at, w.columns, x, y, ldy, accumulate);
  else multiply_rows<M>(w.dense() + at, w.columns, x, y, ldy, accumulate);
}

/** Panels [panel, end), two at a time for one row of x, whose sums would else wait for each other. */
template <int BITS>
void multiply_few(const FrozenMatrix& w, int panel, int end, int m, const float* x, float* y, long ldy,
                  bool accumulate) {
  for (; m == 1 && panel + 2 <= end; panel += 2) multiply_codes<BITS, 1, 2>(w, panel, x, y, ldy, accumulate);
  for (; panel < end; panel++) {
    if (m == 1) multiply_codes<BITS, 1, 1>(w, panel, x, y, ldy, accumulate);
    else if (m == 2) multiply_codes<BITS, 2, 1>(w, panel, x, y, ldy, accumulate);
    else if (m == 3) multiply_codes<BITS, 3, 1>(w, panel, x, y, ldy, accumulate);
    else multiply_codes<BITS, 4, 1>(w, panel, x, y, ldy, accumulate);
  }
}

void multiply_panels(const FrozenMatrix& w, int panel, int end, int m, const float* x, float* y, long ldy,
                     bool accumulate) {
  const int full = std::max(panel, std::min(end, w.rows / kPanelRows));
  if (w.packing.bits == 4 || w.packing.bits == 8) {
    if (m <= 4) {
      if (w.packing.bits == 4) multiply_few<4>(w, panel, full, m, x, y, ldy, accumulate);
      else multiply_few<8>(w, panel, full, m, x, y, ldy, accumulate);
      panel = full;
    }
  } else if (m <= 2) {
    for (; panel < full; panel++) {
      if (m == 1) multiply_plain<1>(w, panel, x, y, ldy, accumulate);
      else multiply_plain<2>(w, panel, x, y, ldy, accumulate);
    }
  }
  for (; panel < end; panel++) {
    if (w.packing.packed()) prefetch_panel(w, panel + 1);
    multiply_panel(w, panel, m, x, y, ldy, accumulate);
  }
}

}  // namespace

void exact_linear(const FrozenMatrix& w, int m, const float* x, float* y, long ldy, bool accumulate) {
  if (m == 0) return;
  const int panels = panels_of(w.rows);
  // Waking another thread costs more than a small product.
  if (static_cast<double>(m) * w.rows * w.columns < 1e6) {
    multiply_panels(w, 0, panels, m, x, y, ldy, accumulate);
    return;
  }
  parallel_for((panels + kTaskPanels - 1) / kTaskPanels, [&](int task) {
    const int panel = task * kTaskPanels;
    multiply_panels(w, panel, std::min(panels, panel + kTaskPanels), m, x, y, ldy, accumulate);
  });
}

void exact_linear(int m, int n, int k, const float* x, const float* w, float* y, long ldy, bool accumulate) {
  exact_linear({reinterpret_cast<const uint8_t*>(w), n, k, {}}, m, x, y, ldy, accumulate);
}

}  // namespace shadow
