// Panels of sixteen rows: dense rows and rows of bfloat16 transposed on the way, packed ones decoded.
#include "row-panels.h"

#include <cmath>
#include <vector>

#include "allocate.h"
#include "packed-codes.h"
#include "parallel.h"
#include "primitive.h"
#include "squares.h"

namespace shadow {
namespace {

/** One code of a panel with any number of rows. */
int code_at(const PackedPanel& panel, int bits, int row, int column) {
  if (bits == 8) return panel.codes[(size_t)column * panel.rows + row];
  return panel.codes[(size_t)(column / 2) * panel.rows + row] >> (column % 2 * 4) & 15;
}

/** What the vectors compute: fused where the processor can, so that it is the same number. */
inline float decoded(int code, float scale, float bias) {
#if defined(__FMA__) || defined(__aarch64__)
  return std::fma(static_cast<float>(code), scale, bias);
#else
  return static_cast<float>(code) * scale + bias;
#endif
}

float element(const FrozenMatrix& w, const PackedPanel& panel, int row, int column) {
  const size_t at = column / w.packing.group * panel.of_group + row * scale_bytes(w.packing.scales);
  const float scale = read_scale(panel.scales + at, w.packing.scales);
  return decoded(code_at(panel, w.packing.bits, row, column), scale, read_scale(panel.biases + at, w.packing.scales));
}

template <int BITS>
void fill_packed(const FrozenMatrix& w, int index, int column, int depth, float* out, long ld) {
  const PackedPanel panel(w, index);
  if (panel.rows < kPanelRows) {
    for (int i = 0; i < depth; i++)
      for (int r = 0; r < kPanelRows; r++) out[i * ld + r] = r < panel.rows ? element(w, panel, r, column + i) : 0;
    return;
  }
  const int group = w.packing.group;
  for (int p = column; p < column + depth; p += group) {
    const vec scale = read_scales(panel.scales + p / group * panel.of_group, w.packing.scales);
    const vec bias = read_scales(panel.biases + p / group * panel.of_group, w.packing.scales);
    for (int i = p; i < p + group; i += 2, out += 2 * ld) {
      vec first, second;
      read_codes<BITS>(panel.codes, i, first, second);
      store(out, first * scale + bias);
      store(out + ld, second * scale + bias);
    }
  }
}

/** Rows of float32 or bfloat16 that lie one behind the other. */
template <class Element>
void fill_rows(const Element* rows, long length, int count, int depth, float* out, long ld) {
  int i = 0;
  for (; count == kPanelRows && i + kNativeLanes <= depth; i += kNativeLanes)
    for (int r = 0; r < kPanelRows; r += kNativeLanes) {
      native columns[kNativeLanes];
      read_square(rows + r * length + i, length, columns);
      for (int j = 0; j < kNativeLanes; j++) store_native(out + (i + j) * ld + r, columns[j]);
    }
  for (; i < depth; i++)
    for (int r = 0; r < kPanelRows; r++) out[i * ld + r] = r < count ? read_one(rows + r * length + i) : 0;
}

/** A row of a packed panel, or a few of its columns, one group after the other. */
void read_packed(const FrozenMatrix& w, int row, int column, int count, float* out) {
  const PackedPanel panel(w, row / kPanelRows);
  const int r = row % kPanelRows, group = w.packing.group;
  const size_t size = scale_bytes(w.packing.scales);
  for (int p = column; p < column + count; p += group) {
    const size_t at = p / group * panel.of_group + r * size;
    const float scale = read_scale(panel.scales + at, w.packing.scales);
    const float bias = read_scale(panel.biases + at, w.packing.scales);
    for (int i = p; i < p + group; i++) *out++ = decoded(code_at(panel, w.packing.bits, r, i), scale, bias);
  }
}

/** Some columns of one row of a packed matrix, in float32. */
void read_columns(const FrozenMatrix& w, int row, int column, int count, float* out) {
  if (w.packing.bits != 16) return read_packed(w, row, column, count, out);
  const uint16_t* from = w.bf16() + (size_t)row * w.columns + column;
  for (int i = 0; i < count; i++) out[i] = read_one(from + i);
}

class TakeRows : public FusedPrimitive {
 public:
  explicit TakeRows(Packing packing) : packing_(packing) {}
  const char* name() const override { return "TakeRows"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    queue(outputs, inputs, [packing = packing_](auto& in, auto& out) {
      const FrozenMatrix w = frozen_matrix(in[0], packing);
      const int* indices = in[1].template data<int>();
      float* to = out[0].template data<float>();
      parallel_ranges(in[1].size(), 16, [&](long begin, long end) {
        for (long i = begin; i < end; i++) read_row(w, indices[i], to + i * w.columns);
      });
    });
  }

 private:
  Packing packing_;
};

}  // namespace

float* scratch(size_t floats) {
  thread_local std::vector<float> room;
  if (room.size() < floats) room.resize(floats);
  return room.data();
}

size_t scale_bytes(mx::Dtype dtype) { return dtype == mx::float32 ? 4 : 2; }

void prefetch_scales(const FrozenMatrix& w, int index) {
  if (w.packing.bits != 4 && w.packing.bits != 8) return;
  const PackedPanel panel(w, index);
  const uint8_t* end = panel.biases + (panel.biases - panel.scales);
  for (const uint8_t* p = panel.scales; p < end; p += 64) __builtin_prefetch(p);
}

void read_row(const FrozenMatrix& w, int row, float* out) {
  if (w.packing.packed()) read_columns(w, row, 0, w.columns, out);
  else std::memcpy(out, w.dense() + (size_t)row * w.columns, sizeof(float) * w.columns);
}

void fill_panel(const FrozenMatrix& w, int panel, int column, int depth, float* out, long ld) {
  const int first = panel * kPanelRows, count = std::min(kPanelRows, w.rows - first);
  if (w.packing.bits == 4) fill_packed<4>(w, panel, column, depth, out, ld);
  else if (w.packing.bits == 8) fill_packed<8>(w, panel, column, depth, out, ld);
  else if (w.packing.bits == 16) fill_rows(w.bf16() + (size_t)first * w.columns + column, w.columns, count, depth, out, ld);
  else fill_rows(w.dense() + (size_t)first * w.columns + column, w.columns, count, depth, out, ld);
}

void unpack(const FrozenMatrix& w, int first, int count, int column, int width, float* out) {
  const int step = w.packing.group;
  int i = 0;
  for (; w.packing.bits != 16 && first % kPanelRows == 0 && i + kPanelRows <= count; i += kPanelRows)
    for (int p = 0; p < width; p += step) {
      float panel[kPanelRows * kLargestGroup];
      fill_panel(w, (first + i) / kPanelRows, column + p, step, panel, kPanelRows);
      for (int q = 0; q < step; q += kNativeLanes)
        for (int r = 0; r < kPanelRows; r += kNativeLanes) {
          native rows[kNativeLanes];
          read_square(panel + q * kPanelRows + r, kPanelRows, rows);
          for (int j = 0; j < kNativeLanes; j++) store_native(out + (size_t)(i + r + j) * width + p + q, rows[j]);
        }
    }
  for (; i < count; i++) read_columns(w, first + i, column, width, out + (size_t)i * width);
}

mx::array take_rows(const mx::array& weight, const mx::array& indices, const Packing& packing) {
  require(packing.packed() && indices.ndim() == 1, "takeRows: a packed matrix, indices (n)");
  return mx::array({indices.shape(0), frozen_columns(weight, packing)}, mx::float32, std::make_shared<TakeRows>(packing),
                   {frozen_input(weight, packing), dense_int(indices)});
}

mx::array to_panels(const mx::array& rows, const Packing& packing) {
  const int columns = frozen_columns(rows, packing), count = rows.shape(0);
  require(packing.bits == 4 || packing.bits == 8, "toPanels: codes of 4 or 8 bits");
  auto from = frozen_input(rows, packing);
  from.eval();
  mx::array out(allocate(from.nbytes()), rows.shape(), mx::uint32);
  const size_t row_bytes = packing.row_bytes(columns), code_bytes = (size_t)columns * packing.bits / 8;
  const size_t size = scale_bytes(packing.scales), groups = columns / packing.group;
  parallel_ranges(panels_of(count), 4, [&](long begin, long end) {
    for (long panel = begin; panel < end; panel++) {
      const int first = panel * kPanelRows, here = std::min(kPanelRows, count - first);
      uint8_t* to = out.data<uint8_t>() + row_bytes * first;
      for (int r = 0; r < here; r++) {
        const uint8_t* row = from.data<uint8_t>() + row_bytes * (first + r);
        // Two columns of a row share a byte; in a row, elements 16 apart do.
        auto code = [&](int i) { return row[i / 32 * 16 + i % 16] >> (i % 32 / 16 * 4) & 15; };
        if (packing.bits == 8) for (int i = 0; i < columns; i++) to[(size_t)i * here + r] = row[i];
        else for (int i = 0; i < columns; i += 2)
          to[(size_t)(i / 2) * here + r] = static_cast<uint8_t>(code(i) | code(i + 1) << 4);
        for (size_t g = 0; g < 2 * groups; g++)
          std::memcpy(to + here * code_bytes + (g * here + r) * size, row + code_bytes + g * size, size);
      }
    }
  });
  return out;
}

}  // namespace shadow
