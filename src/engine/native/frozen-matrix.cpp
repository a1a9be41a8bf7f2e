// Packed weights stay packed in memory. A product unpacks a tile of them into a buffer that stays in the second-level
// cache and gives it to BLAS, so its cost is that of the float32 product; with few rows (generation) the codes are
// turned to floats in registers, and memory is read once and packed.
// Either way the elements are fma(code, scale, bias) in float32, the same values that unpacking the matrix gives.
#include "frozen-matrix.h"

#include <algorithm>
#include <cstring>

#include "allocate.h"
#include "blas.h"
#include "frozen-bf16.h"
#include "mlx/transforms.h"
#include "parallel.h"
#include "primitive.h"
#include "row-panels.h"

namespace shadow {
namespace {

/** Floats of a tile: with the rows it is multiplied by, it fits a second-level cache of 1 MiB. */
constexpr int kTileFloats = 196608;

class Unpack : public FusedPrimitive {
 public:
  explicit Unpack(Packing packing) : packing_(packing) {}
  const char* name() const override { return "Unpack"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    queue(outputs, inputs, [packing = packing_](auto& in, auto& out) {
      const FrozenMatrix w = frozen_matrix(in[0], packing);
      float* to = out[0].template data<float>();
      parallel_ranges(w.rows, 64, [&](long begin, long end) {
        unpack(w, begin, end - begin, 0, w.columns, to + begin * w.columns);
      });
    });
  }

 private:
  Packing packing_;
};

}  // namespace

size_t Packing::row_bytes(int columns) const {
  if (!packed()) return sizeof(float) * columns;
  if (bits == 16) return 2 * (size_t)columns;
  return (size_t)columns * bits / 8 + 2 * (size_t)(columns / group) * scale_bytes(scales);
}

int Packing::columns(size_t bytes) const {
  if (bits == 16) return static_cast<int>(bytes / 2);
  const size_t of_group = row_bytes(group);
  return bytes % of_group == 0 ? static_cast<int>(bytes / of_group * group) : -1;
}

int frozen_columns(const mx::array& weight, const Packing& packing) {
  require(weight.ndim() == 2, "a frozen matrix has two axes");
  if (!packing.packed()) return width(weight);
  if (packing.bits == 16) return packing.columns((size_t)width(weight) * 4);
  require((packing.bits == 4 || packing.bits == 8) && packing.group >= 32 && packing.group <= kLargestGroup &&
              packing.group % 32 == 0,
          "packed weights have 16 bits, or 4 or 8 in groups of 32, 64, 96 or 128");
  require(packing.scales == mx::float32 || packing.scales == mx::float16 || packing.scales == mx::bfloat16,
          "scales are float32, float16 or bfloat16");
  const int columns = packing.columns((size_t)width(weight) * 4);
  require(columns > 0, "the packed rows have another length than their packing says");
  return columns;
}

mx::array frozen_input(const mx::array& weight, const Packing& packing) {
  if (!packing.packed()) return dense(weight);
  require(weight.dtype() == mx::uint32, "packed weights are uint32 arrays");
  if (is_dense(weight)) return weight;
  return mx::contiguous(weight, false, mx::default_stream(mx::Device::cpu));
}

FrozenMatrix frozen_matrix(const mx::array& weight, const Packing& packing) {
  return {weight.data<uint8_t>(), weight.shape(0), frozen_columns(weight, packing), packing};
}

void frozen_nt(const FrozenMatrix& w, int m, const float* x, float* y, bool accumulate) {
  if (in_bf16(w.packing)) {
    bf16_nt(w, m, x, y, accumulate);
    return;
  }
  if (!w.packing.packed()) {
    sgemm_nt(m, w.rows, w.columns, x, w.dense(), y, accumulate);
    return;
  }
  const int k = w.columns;
  const int wanted = std::max(kPanelRows, kTileFloats / k / kPanelRows * kPanelRows);
  const int size = rounded_up((w.rows + parts_of(w.rows, wanted) - 1) / parts_of(w.rows, wanted), kPanelRows);
  parallel_for((w.rows + size - 1) / size, [&](int task) {
    // A tile of Wᵀ: panels side by side.
    const int begin = task * size, count = std::min(size, w.rows - begin), width = rounded_up(count, kPanelRows);
    float* tile = scratch((size_t)width * k);
    for (int j = 0; j < count; j += kPanelRows) fill_panel(w, (begin + j) / kPanelRows, 0, k, tile + j, width);
    scipy_cblas_sgemm(kRowMajor, kPlain, kPlain, m, count, k, 1, x, k, tile, width, accumulate ? 1 : 0, y + begin, w.rows);
  });
}

void frozen_nn(const FrozenMatrix& w, int m, const float* dy, float* dx, bool accumulate) {
  if (in_bf16(w.packing)) {
    bf16_nn(w, m, dy, dx, accumulate);
    return;
  }
  if (!w.packing.packed()) {
    sgemm_nn(m, w.columns, w.rows, dy, w.dense(), dx, accumulate);
    return;
  }
  // Each task owns a block of dx and adds up over slabs of W's rows, so the sums have one order.
  const int k = w.columns, n = w.rows;
  const int columns = rounded_up((k + parts_of(k, 384) - 1) / parts_of(k, 384), std::max(32, w.packing.group));
  const int across = (k + columns - 1) / columns;
  const int wanted_down = across % thread_count() == 0 ? 1 : thread_count();
  const int row_count = std::max(64, (m + wanted_down - 1) / wanted_down);
  const int down = (m + row_count - 1) / row_count;
  const int slab = std::max(kPanelRows, kTileFloats / columns / kPanelRows * kPanelRows);
  parallel_for(across * down, [&](int task) {
    const int j = task % across * columns, i = task / across * row_count;
    const int count = std::min(columns, k - j), height = std::min(row_count, m - i);
    float* tile = scratch((size_t)slab * count);
    for (int p = 0; p < n; p += slab) {
      const int depth = std::min(slab, n - p), width = rounded_up(depth, kPanelRows);
      for (int q = 0; q < depth; q += kPanelRows) fill_panel(w, (p + q) / kPanelRows, j, count, tile + q, width);
      scipy_cblas_sgemm(kRowMajor, kPlain, kTransposed, height, count, depth, 1, dy + (long)i * n + p, n, tile, width,
                        p > 0 || accumulate ? 1 : 0, dx + (long)i * k + j, k);
    }
  });
}

mx::array unpacked(const mx::array& weight, const Packing& packing) {
  if (!packing.packed()) return weight;
  return mx::array({weight.shape(0), frozen_columns(weight, packing)}, mx::float32, std::make_shared<Unpack>(packing),
                   {frozen_input(weight, packing)});
}

mx::array pack(const mx::array& codes, const mx::array& scales, const mx::array& biases, int bits, int group) {
  require(codes.ndim() == 2 && codes.dtype() == mx::uint32, "pack: codes (rows, words) uint32");
  require(scales.ndim() == 2 && scales.shape() == biases.shape() && scales.dtype() == biases.dtype() &&
              scales.shape(0) == codes.shape(0),
          "pack: scales and biases (rows, groups), of one dtype");
  const Packing packing{bits, group, scales.dtype()};
  const int rows = codes.shape(0), columns = scales.shape(1) * group;
  require((size_t)width(codes) * 32 == (size_t)columns * bits, "pack: as many codes as the groups hold");
  const size_t row_bytes = packing.row_bytes(columns);
  auto buffer = allocate(row_bytes * rows);
  mx::array out(std::move(buffer), {rows, static_cast<int>(row_bytes / 4)}, mx::uint32);
  frozen_columns(out, packing);
  auto c = mx::contiguous(codes), s = mx::contiguous(scales), b = mx::contiguous(biases);
  mx::eval({c, s, b});
  const FrozenMatrix w = frozen_matrix(out, packing);
  const size_t code_bytes = (size_t)columns * bits / 8, of_scales = (row_bytes - code_bytes) / 2;
  parallel_ranges(rows, 64, [&](long begin, long end) {
    for (long i = begin; i < end; i++) {
      const uint8_t* from = c.data<uint8_t>() + code_bytes * i;
      uint8_t* to = out.data<uint8_t>() + row_bytes * i;
      if (bits == 8) std::memcpy(to, from, code_bytes);
      // Consecutive elements there, elements 16 apart here.
      else for (size_t at = 0; at < code_bytes; at += 16)
        for (int j = 0; j < 16; j++) {
          auto code = [&](int e) { return from[at + e / 2] >> (e % 2 * 4) & 15; };
          to[at + j] = static_cast<uint8_t>(code(j) | code(j + 16) << 4);
        }
      std::memcpy(to + code_bytes, s.data<uint8_t>() + of_scales * i, of_scales);
      std::memcpy(to + code_bytes + of_scales, b.data<uint8_t>() + of_scales * i, of_scales);
    }
  });
  return out;
}

}  // namespace shadow
