// A general BLAS picks other kernels for other row counts, which changes the last bits of a row with its batch mates.
// Here every element is summed along k in order, sixteen rows of the weight side by side: nothing is added up across
// lanes. Few rows of x are multiplied with codes in registers; for more, codes are decoded once into a panel.
#include "exact-linear.h"

#include <algorithm>
#include <type_traits>

#include "packed-codes.h"
#include "parallel.h"
#include "row-panels.h"
#include "squares.h"

namespace shadow {
namespace {

/** Columns of a panel that stay in the first-level cache; more where a group is longer. */
constexpr int kDepth = 256;

/** Panels of one task: few, so that threads finish together, and more than one, whose successor is asked for early. */
int task_panels(int panels) { return std::clamp(panels / (16 * thread_count()), 2, 32); }

inline void finish(float* y, vec sum, int lanes, bool accumulate) {
  if (lanes == kLanes) store(y, accumulate ? load(y) + sum : sum);
  else store_part(y, accumulate ? load_part(y, lanes) + sum : sum, lanes);
}

/** Rows of a tile: their sums, a row of the panel and an element of x share the registers. */
constexpr int kTileRows = kVectors >= 32 ? 16 : kVectors - 2;

/** The sums of a tile, in registers: R rows by sixteen columns. */
template <int R>
struct Sums {
  native at[R][kParts];

  Sums(const float* from, bool zero) {
    for (int r = 0; r < R; r++)
      for (int part = 0; part < kParts; part++)
        at[r][part] = zero ? native{} : load_native(from + r * kLanes + part * kNativeLanes);
  }

  /** += one column of x · one row of a panel. */
  void add(const float* x, long ldx, const native* row) {
    for (int r = 0; r < R; r++) {
      const native element = x[r * ldx] - native{};
      for (int part = 0; part < kParts; part++) at[r][part] += element * row[part];
    }
  }

  void save(float* to) const {
    for (int r = 0; r < R; r++)
      for (int part = 0; part < kParts; part++) store_native(to + r * kLanes + part * kNativeLanes, at[r][part]);
  }
};

/** sums[R, 16] += x[R, depth] · panel, from zero where `first`. */
template <int R>
void tile(int depth, const float* x, long ldx, const float* panel, float* sums, bool first) {
  Sums<R> acc(sums, first);
  for (int i = 0; i < depth; i++, panel += kPanelRows) {
    native row[kParts];
    for (int part = 0; part < kParts; part++) row[part] = pinned(load_native(panel + part * kNativeLanes));
    acc.add(x + i, ldx, row);
  }
  acc.save(sums);
}

/** The same from codes, which it leaves decoded in `panel`: decoding hides behind the products. */
template <int R, int BITS>
void decoding_tile(const PackedPanel& w, const Packing& packing, int column, int depth, const float* x, long ldx,
                   float* panel, float* sums, bool first) {
  Sums<R> acc(sums, first);
  for (int p = column; p < column + depth; p += packing.group) {
    native scale[kParts], bias[kParts];
    split(read_scales(w.scales + p / packing.group * w.of_group, packing.scales), scale);
    split(read_scales(w.biases + p / packing.group * w.of_group, packing.scales), bias);
    for (int part = 0; part < kParts; part++) scale[part] = pinned(scale[part]), bias[part] = pinned(bias[part]);
    for (int i = p; i < p + packing.group; i += 2, panel += 2 * kPanelRows, x += 2) {
      auto add = [&](int j, vec codes) {
        native row[kParts];
        split(codes, row);
        for (int part = 0; part < kParts; part++) {
          row[part] = pinned(row[part] * scale[part] + bias[part]);
          store_native(panel + j * kPanelRows + part * kNativeLanes, row[part]);
        }
        acc.add(x + j, ldx, row);
      };
      add(0, read_code<BITS, 0>(w.codes, i));
      add(1, read_code<BITS, 1>(w.codes, i));
    }
  }
  acc.save(sums);
}

/** Calls body with R as a constant, for R from 1 to kTileRows. */
template <int R = kTileRows, class Body>
void with_rows(int rows, Body body) {
  if constexpr (R > 1) {
    if (rows < R) return with_rows<R - 1>(rows, body);
  }
  body(std::integral_constant<int, R>{});
}

void multiply_panel(const FrozenMatrix& w, int panel, int m, const float* x, float* y, long ldy, bool accumulate) {
  const int k = w.columns, group = std::max(1, w.packing.group), bits = w.packing.bits;
  const bool coded = bits == 4 || bits == 8;
  const int depth = coded ? std::max(group, kDepth / group * group) : kDepth;
  float* room = scratch((size_t)depth * kPanelRows + (size_t)m * kLanes);
  float* sums = room + (size_t)depth * kPanelRows;
  const int lanes = std::min(kPanelRows, w.rows - panel * kPanelRows);
  const bool decodes = coded && lanes == kPanelRows;
  for (int p = 0; p < k; p += depth) {
    const int some = std::min(depth, k - p);
    if (!decodes) fill_panel(w, panel, p, some, room, kPanelRows);
    // The first tile is the short one: it has registers left to decode with.
    for (int i = 0, rest = (m - 1) % kTileRows + 1; i < m; i += rest, rest = kTileRows)
      with_rows(rest, [&](auto rows) {
        const float* from = x + (long)i * k + p;
        float* to = sums + i * kLanes;
        if (i > 0 || !decodes) tile<rows>(some, from, k, room, to, p == 0);
        else if (bits == 4) decoding_tile<rows, 4>(PackedPanel(w, panel), w.packing, p, some, from, k, room, to, p == 0);
        else decoding_tile<rows, 8>(PackedPanel(w, panel), w.packing, p, some, from, k, room, to, p == 0);
      });
  }
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
  for (int p = panel; p < std::min(end, panel + 2); p++) prefetch_scales(w, p);
  for (; m == 1 && panel + 2 <= end; panel += 2) {
    for (int p = panel + 2; p < std::min(end, panel + 4); p++) prefetch_scales(w, p);
    multiply_codes<BITS, 1, 2>(w, panel, x, y, ldy, accumulate);
  }
  for (; panel < end; panel++) {
    if (panel + 1 < end) prefetch_scales(w, panel + 1);
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
  if (panel < end) prefetch_scales(w, panel);
  for (; panel < end; panel++) {
    if (panel + 1 < end) prefetch_scales(w, panel + 1);
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
  const int size = task_panels(panels);
  parallel_for((panels + size - 1) / size, [&](int task) {
    multiply_panels(w, task * size, std::min(panels, (task + 1) * size), m, x, y, ldy, accumulate);
  });
}

void exact_linear(int m, int n, int k, const float* x, const float* w, float* y, long ldy, bool accumulate) {
  exact_linear({reinterpret_cast<const uint8_t*>(w), n, k, {}}, m, x, y, ldy, accumulate);
}

}  // namespace shadow
