// Packed weights stay packed in memory. A product unpacks a tile of them into a buffer that stays in the second-level
// cache and gives it to BLAS, so its cost is that of the float32 product; with few rows (generation) the codes are
// turned to floats in registers, and memory is read once and packed.
// Either way the elements are fma(code, scale, bias) in float32, the same values that unpacking the matrix gives.
#include "frozen-matrix.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <cstring>
#include <vector>

#include "blas.h"
#include "exact-linear.h"
#include "frozen-bf16.h"
#include "mlx/transforms.h"
#include "parallel.h"
#include "primitive.h"
#include "simd.h"

namespace shadow {
namespace {

constexpr int kPlain = 111, kTransposed = 112, kRowMajor = 101;
/** Floats of a tile: with the rows it is multiplied by, it fits a second-level cache of 1 MiB. */
constexpr int kTileFloats = 196608;

typedef uint8_t bytes16 __attribute__((vector_size(16), aligned(1)));

/** Sixteen bytes as integers. Compilers take the plain conversion apart into scalars. */
inline ivec widen(const uint8_t* p) {
#if defined(__AVX512F__)
  return reinterpret_cast<ivec>(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#elif defined(__AVX2__)
  ivec out;
  const __m256i halves[2] = {_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))),
                             _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 8)))};
  std::memcpy(&out, halves, sizeof(out));
  return out;
#else
  return __builtin_convertvector(*reinterpret_cast<const bytes16*>(p), ivec);
#endif
}

/** Room for this thread's tile; it grows to the largest one asked for. */
float* scratch(size_t floats) {
  thread_local std::vector<float> room;
  if (room.size() < floats) room.resize(floats);
  return room.data();
}

size_t scale_bytes(mx::Dtype dtype) { return dtype == mx::float32 ? 4 : 2; }

float half_to_float(uint16_t bits) {
  const uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
  const uint32_t magnitude = bits & 0x7fff;
  uint32_t out;
  if (magnitude >= 0x7c00) out = sign | 0x7f800000 | (magnitude & 1023) << 13;
  else if (magnitude >= 0x0400) out = sign | ((magnitude << 13) + 0x38000000);
  else {
    const float subnormal = (float)magnitude * 0x1p-24f;
    std::memcpy(&out, &subnormal, 4);
    out |= sign;
  }
  float value;
  std::memcpy(&value, &out, 4);
  return value;
}

/** `count` scales or biases as float32. */
void read_scales(const uint8_t* from, mx::Dtype dtype, int count, float* to) {
  if (dtype == mx::float32) {
    std::memcpy(to, from, sizeof(float) * count);
    return;
  }
  auto bits = [&](int i) { return static_cast<uint16_t>(from[2 * i] | from[2 * i + 1] << 8); };
  if (dtype == mx::bfloat16) {
    for (int i = 0; i < count; i++) {
      const uint32_t wide = (uint32_t)bits(i) << 16;
      std::memcpy(to + i, &wide, 4);
    }
    return;
  }
  int i = 0;
#if defined(__F16C__)
  auto eight = [&](int at) {
    _mm256_storeu_ps(to + at, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 2 * at))));
  };
  for (; i + 8 <= count; i += 8) eight(i);
  if (i < count && count >= 8) {
    eight(count - 8);
    return;
  }
#endif
  for (; i < count; i++) to[i] = half_to_float(bits(i));
}

/** Where the parts of a packed row begin. */
struct RowLayout {
  size_t row;
  size_t scales;  // after the codes
  size_t biases;

  explicit RowLayout(const FrozenMatrix& w)
      : row(w.packing.row_bytes(w.columns)),
        scales((size_t)w.columns * w.packing.bits / 8),
        biases(scales + (row - scales) / 2) {}
};

/** The block of 32 elements that starts at element p. */
template <int BITS>
inline void read_block(const uint8_t* codes, int p, vec& low, vec& high) {
  if constexpr (BITS == 8) {
    low = __builtin_convertvector(widen(codes + p), vec);
    high = __builtin_convertvector(widen(codes + p + 16), vec);
  } else {
    const ivec pair = widen(codes + p / 2);
    low = __builtin_convertvector(pair & 15, vec);
    high = __builtin_convertvector(pair >> 4, vec);
  }
}

template <int BITS>
void unpack_tile(const FrozenMatrix& w, int first, int count, int column, int width, float* out) {
  const int group = w.packing.group, groups = width / group;
  const size_t size = scale_bytes(w.packing.scales);
  const RowLayout layout(w);
  std::vector<float> scales(groups), biases(groups);
  for (int i = 0; i < count; i++, out += width) {
    const uint8_t* row = w.data + layout.row * (first + i);
    read_scales(row + layout.scales + size * (column / group), w.packing.scales, groups, scales.data());
    read_scales(row + layout.biases + size * (column / group), w.packing.scales, groups, biases.data());
    const uint8_t* codes = row + (size_t)column * BITS / 8;
    for (int g = 0; g < groups; g++) {
      const vec s = splat(scales[g]), b = splat(biases[g]);
      for (int p = g * group; p < (g + 1) * group; p += 32) {
        vec low, high;
        read_block<BITS>(codes, p, low, high);
        store(out + p, low * s + b);
        store(out + p + 16, high * s + b);
      }
    }
  }
}

typedef uint16_t halfwords __attribute__((vector_size(32), aligned(1)));

inline vec from_bf16(const uint16_t* p) {
  return reinterpret_cast<vec>(__builtin_convertvector(*reinterpret_cast<const halfwords*>(p), ivec) << 16);
}

inline vec from_bf16_part(const uint16_t* p, int n) {
  ivec bits{};
  for (int i = 0; i < n; i++) bits[i] = p[i] << 16;
  return reinterpret_cast<vec>(bits);
}

const uint16_t* bf16_row(const FrozenMatrix& w, int row) {
  return reinterpret_cast<const uint16_t*>(w.data) + (size_t)row * w.columns;
}

void unpack_bf16(const FrozenMatrix& w, int first, int count, int column, int width, float* out) {
  for (int i = 0; i < count; i++, out += width) {
    const uint16_t* from = bf16_row(w, first + i) + column;
    int p = 0;
    for (; p + kLanes <= width; p += kLanes) store(out + p, from_bf16(from + p));
    store_part(out + p, from_bf16_part(from + p, width - p), width - p);
  }
}

/** exact_linear's tile on rows of bfloat16. */
template <int R, int C>
void bf16_tile(const FrozenMatrix& w, int first, const float* x, float* y, long ldy, bool accumulate) {
  const int k = w.columns;
  vec acc[R][C] = {};
  int p = 0;
  for (; p + kLanes <= k; p += kLanes) {
    vec column[C];
    for (int c = 0; c < C; c++) column[c] = from_bf16(bf16_row(w, first + c) + p);
    for (int r = 0; r < R; r++) {
      const vec row = load(x + (long)r * k + p);
      for (int c = 0; c < C; c++) acc[r][c] += row * column[c];
    }
  }
  if (p < k)
    for (int r = 0; r < R; r++) {
      const vec row = load_part(x + (long)r * k + p, k - p);
      for (int c = 0; c < C; c++) acc[r][c] += row * from_bf16_part(bf16_row(w, first + c) + p, k - p);
    }
  for (int r = 0; r < R; r++)
    for (int c = 0; c < C; c++) {
      float& out = y[r * ldy + first + c];
      out = accumulate ? out + sum(acc[r][c]) : sum(acc[r][c]);
    }
}

/** exact_linear's tile with the columns unpacked on the way: each sum runs over k in the same order. */
template <int BITS, int R, int C>
void direct_tile(const FrozenMatrix& w, int first, const float* x, float* y, long ldy, bool accumulate) {
  const int k = w.columns, group = w.packing.group, groups = k / group;
  const RowLayout layout(w);
  float* scales = scratch((size_t)2 * C * groups);
  const uint8_t* codes[C];
  for (int c = 0; c < C; c++) {
    codes[c] = w.data + layout.row * (first + c);
    read_scales(codes[c] + layout.scales, w.packing.scales, 2 * groups, scales + 2 * c * groups);
  }
  vec acc[R][C] = {};
  for (int g = 0; g < groups; g++) {
    for (int p = g * group; p < (g + 1) * group; p += 32) {
      for (int c = 0; c < C; c++) {
        const vec s = splat(scales[2 * c * groups + g]), b = splat(scales[(2 * c + 1) * groups + g]);
        vec low, high;
        read_block<BITS>(codes[c], p, low, high);
        low = low * s + b;
        high = high * s + b;
        for (int r = 0; r < R; r++) {
          acc[r][c] += load(x + (long)r * k + p) * low;
          acc[r][c] += load(x + (long)r * k + p + 16) * high;
        }
      }
    }
  }
  for (int r = 0; r < R; r++)
    for (int c = 0; c < C; c++) {
      float& out = y[r * ldy + first + c];
      out = accumulate ? out + sum(acc[r][c]) : sum(acc[r][c]);
    }
}

template <int BITS, int R>
void direct_rows(const FrozenMatrix& w, int first, int count, const float* x, float* y, bool accumulate) {
  int j = first;
  if constexpr (BITS == 16) {
    for (; j + 4 <= first + count; j += 4) bf16_tile<R, 4>(w, j, x, y, w.rows, accumulate);
    for (; j < first + count; j++) bf16_tile<R, 1>(w, j, x, y, w.rows, accumulate);
  } else {
    for (; j + 4 <= first + count; j += 4) direct_tile<BITS, R, 4>(w, j, x, y, w.rows, accumulate);
    for (; j < first + count; j++) direct_tile<BITS, R, 1>(w, j, x, y, w.rows, accumulate);
  }
}

template <int BITS>
void direct(const FrozenMatrix& w, int first, int count, int m, const float* x, float* y, bool accumulate) {
  if (m == 1) direct_rows<BITS, 1>(w, first, count, x, y, accumulate);
  else if (m == 2) direct_rows<BITS, 2>(w, first, count, x, y, accumulate);
  else if (m == 3) direct_rows<BITS, 3>(w, first, count, x, y, accumulate);
  else direct_rows<BITS, 4>(w, first, count, x, y, accumulate);
}

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
  require((packing.bits == 4 || packing.bits == 8) && packing.group >= 32 && packing.group % 32 == 0,
          "packed weights have 16 bits, or 4 or 8 in groups of a multiple of 32");
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

void unpack(const FrozenMatrix& w, int first, int count, int column, int width, float* out) {
  if (w.packing.bits == 16) unpack_bf16(w, first, count, column, width, out);
  else if (w.packing.bits == 4) unpack_tile<4>(w, first, count, column, width, out);
  else unpack_tile<8>(w, first, count, column, width, out);
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
  const int wanted = std::max(16, kTileFloats / k / 16 * 16);
  const int size = rounded_up((w.rows + parts_of(w.rows, wanted) - 1) / parts_of(w.rows, wanted), 16);
  parallel_for((w.rows + size - 1) / size, [&](int task) {
    const int begin = task * size, count = std::min(size, w.rows - begin);
    float* tile = scratch((size_t)count * k);
    unpack(w, begin, count, 0, k, tile);
    scipy_cblas_sgemm(kRowMajor, kPlain, kTransposed, m, count, k, 1, x, k, tile, k, accumulate ? 1 : 0, y + begin,
                      w.rows);
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
  const int slab = std::max(16, kTileFloats / columns / 16 * 16);
  parallel_for(across * down, [&](int task) {
    const int j = task % across * columns, i = task / across * row_count;
    const int count = std::min(columns, k - j), height = std::min(row_count, m - i);
    float* tile = scratch((size_t)slab * count);
    for (int p = 0; p < n; p += slab) {
      const int depth = std::min(slab, n - p);
      unpack(w, p, depth, j, count, tile);
      scipy_cblas_sgemm(kRowMajor, kPlain, kPlain, height, count, depth, 1, dy + (long)i * n + p, n, tile, count,
                        p > 0 || accumulate ? 1 : 0, dx + (long)i * k + j, k);
    }
  });
}

void frozen_exact(const FrozenMatrix& w, int m, const float* x, float* y, bool accumulate) {
  const int n = w.rows, k = w.columns;
  if (!w.packing.packed()) {
    exact_linear(m, n, k, x, w.dense(), y, n, accumulate);
    return;
  }
  constexpr int kBlock = 48;
  auto block = [&](int task) {
    const int begin = task * kBlock, count = std::min(kBlock, n - begin);
    if (m <= 4) {
      if (w.packing.bits == 16) direct<16>(w, begin, count, m, x, y, accumulate);
      else if (w.packing.bits == 4) direct<4>(w, begin, count, m, x, y, accumulate);
      else direct<8>(w, begin, count, m, x, y, accumulate);
      return;
    }
    // A few columns at a time, which stay in the first-level cache.
    const int some = std::max(6, 8192 / k / 6 * 6);
    float* tile = scratch((size_t)some * k);
    for (int j = 0; j < count; j += some) {
      const int columns = std::min(some, count - j);
      unpack(w, begin + j, columns, 0, k, tile);
      exact_linear(m, columns, k, x, tile, y + begin + j, n, accumulate);
    }
  };
  const int blocks = (n + kBlock - 1) / kBlock;
  // Waking another thread costs more than a small product.
  if (static_cast<double>(m) * n * k < 1e6) {
    for (int task = 0; task < blocks; task++) block(task);
  } else {
    parallel_for(blocks, block);
  }
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
  auto buffer = mx::allocator::malloc(row_bytes * rows);
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
