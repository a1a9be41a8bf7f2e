// The matrix stays as it lies in memory; each task makes the panels of its own columns, a slice of the sum at a time.
#include "frozen-bf16.h"

#include <algorithm>
#include <vector>

#include "allocate.h"
#include "bf16-gemm.h"
#include "parallel.h"
#include "primitive.h"

namespace shadow {
namespace {

/** Rows of the left side that stay in the second-level cache beside the panels: eight register tiles. */
constexpr int kRowBlock = 112;
/** How much of a sum goes by before it is stored, and how many panels of that length one task packs at a time. */
constexpr int kDepth = 1024, kPanels = 4;

/** Rows of a bfloat16 product's left side, padded to an even width with zeros. */
struct Rounded {
  long ld;
  std::vector<uint16_t> data;
};

Rounded rounded(int m, int k, const float* x) {
  Rounded out{k + (k & 1), {}};
  out.data.resize((size_t)m * out.ld);
  parallel_ranges(m, 16, [&](long begin, long end) {
    for (long i = begin; i < end; i++) to_bf16(x + i * k, k, out.data.data() + i * out.ld);
  });
  return out;
}

/** A part of the matrix in bfloat16: where it lies already, or in this thread's scratch. */
class Bf16Part {
 public:
  Bf16Part(const FrozenMatrix& w, int first, int count, int column, int width) {
    if (w.packing.bits == 16) {
      rows = reinterpret_cast<const uint16_t*>(w.data) + (size_t)first * w.columns + column;
      ld = w.columns;
      return;
    }
    ld = width + (width & 1);
    thread_local std::vector<uint16_t> room;
    room.assign((size_t)count * ld, 0);
    const float* from = w.dense() + (size_t)first * w.columns + column;
    long ld_from = w.columns;
    if (w.packing.packed()) {
      thread_local std::vector<float> tile;
      tile.resize(std::max(tile.size(), (size_t)count * width));
      unpack(w, first, count, column, width, tile.data());
      from = tile.data();
      ld_from = width;
    }
    for (int i = 0; i < count; i++) to_bf16(from + i * ld_from, width, room.data() + i * ld);
    rows = room.data();
  }

  const uint16_t* rows;
  long ld;
};

uint32_t* panel_room() {
  thread_local std::vector<uint32_t> room((size_t)kPanels * kPanel * kDepth / 2);
  return room.data();
}

/** c[m, panels · 32] (+)= a · panels, by blocks of rows. */
void multiply_panels(int m, int depth, const uint16_t* a, long lda, const uint32_t* panels, float* c, long ldc,
                     int columns, bool accumulate) {
  const int pairs = (depth + 1) / 2;
  for (int i = 0; i < m; i += kRowBlock)
    for (int j = 0; j < columns; j += kPanel)
      multiply_panel(std::min(kRowBlock, m - i), pairs, a + i * lda, lda, panels + (long)j * pairs, c + i * ldc + j, ldc,
                     std::min(kPanel, columns - j), accumulate);
}

}  // namespace

bool in_bf16(const Packing& packing) {
  return packing.bf16_products && packing.group <= kPanels * kPanel && has_bf16_products();
}

void bf16_nt(const FrozenMatrix& w, int m, const float* x, float* y, bool accumulate) {
  const int n = w.rows, k = w.columns;
  const Rounded a = rounded(m, k, x);
  const int size = rounded_up((n + parts_of(n, kPanels * kPanel) - 1) / parts_of(n, kPanels * kPanel), kPanel);
  parallel_for((n + size - 1) / size, [&](int task) {
    const int j = task * size, columns = std::min(size, n - j);
    uint32_t* panels = panel_room();
    for (int p = 0; p < k; p += kDepth) {
      const int depth = std::min(kDepth, k - p), pairs = (depth + 1) / 2;
      for (int at = 0; at < columns; at += kPanel) {
        const int count = std::min(kPanel, columns - at);
        const Bf16Part part(w, j + at, count, p, depth);
        pack_panel_along(part.rows, part.ld, count, pairs, panels + (long)at * pairs);
      }
      multiply_panels(m, depth, a.data.data() + p, a.ld, panels, y + j, n, columns, accumulate || p > 0);
    }
  });
}

void bf16_nn(const FrozenMatrix& w, int m, const float* dy, float* dx, bool accumulate) {
  const int n = w.rows, k = w.columns;
  const Rounded a = rounded(m, n, dy);
  const int step = std::max(kPanel, w.packing.group);
  const int size = std::min(kPanels * kPanel, rounded_up((k + parts_of(k, kPanels * kPanel) - 1) / parts_of(k, kPanels * kPanel), step));
  parallel_for((k + size - 1) / size, [&](int task) {
    const int j = task * size, columns = std::min(size, k - j);
    uint32_t* panels = panel_room();
    for (int p = 0; p < n; p += kDepth) {
      const int depth = std::min(kDepth, n - p), pairs = (depth + 1) / 2;
      const Bf16Part part(w, p, depth, j, columns);
      for (int at = 0; at < columns; at += kPanel)
        pack_panel_across(part.rows + at, part.ld, depth, std::min(kPanel, columns - at), panels + (long)at * pairs);
      multiply_panels(m, depth, a.data.data() + p, a.ld, panels, dx + j, k, columns, accumulate || p > 0);
    }
  });
}

mx::array pack_bf16(const mx::array& weight) {
  require(weight.ndim() == 2 && width(weight) % 2 == 0, "packBfloat16: a matrix with an even number of columns");
  auto x = dense(weight);
  x.eval();
  const int count = x.shape(0), columns = width(x);
  mx::array out(allocate((size_t)2 * count * columns), {count, columns / 2}, mx::uint32);
  parallel_ranges(count, 64, [&](long begin, long end) {
    to_bf16(x.data<float>() + begin * columns, (end - begin) * columns,
            reinterpret_cast<uint16_t*>(out.data<uint8_t>()) + begin * columns);
  });
  return out;
}

}  // namespace shadow
