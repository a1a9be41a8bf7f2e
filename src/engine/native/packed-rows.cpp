// The rows of packed matrices: their codes, scales and biases turned to floats, into a buffer or within a product.
#include "packed-rows.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <cstring>
#include <vector>

#include "simd.h"

namespace shadow {
namespace {

typedef uint8_t bytes16 __attribute__((vector_size(16), aligned(1)));

/** Sixteen bytes as integers. Compilers take the plain conversion apart into scalars. */
inline ivec widen(const uint8_t* p) {
#if defined(__AVX512F__)
  return reinterpret_cast<ivec>(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#elif defined(__AVX2__)
  auto eight = [](const uint8_t* from) {
    return reinterpret_cast<ints8>(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
  };
  return {eight(p), eight(p + 8)};
#else
  return bits_as<ivec>(__builtin_convertvector(*reinterpret_cast<const bytes16*>(p), ints16));
#endif
}

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
inline void read_scales(const uint8_t* from, mx::Dtype dtype, int count, float* to) {
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
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  for (; i < count; i += 16) {
    const __mmask16 some = count - i < 16 ? (1u << (count - i)) - 1 : 0xffff;
    _mm512_mask_storeu_ps(to + i, some, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(some, from + 2 * i)));
  }
#elif defined(__F16C__)
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

/** Elements of one group: fma(code, scale, bias). */
template <int BITS>
class Group {
 public:
  Group(float scale, float bias) : scale_(splat(scale)), bias_(splat(bias)) {
#if defined(__AVX512F__)
    // Sixteen codes are sixteen values: one shuffle then stands for mask, conversion and product.
    if constexpr (BITS == 4) values_ = vec{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15} * scale_ + bias_;
#endif
  }

  /** The block of 32 elements that starts at element p. */
  void read(const uint8_t* codes, int p, vec& low, vec& high) const {
    if constexpr (BITS == 8) {
      low = to_float(widen(codes + p)) * scale_ + bias_;
      high = to_float(widen(codes + p + 16)) * scale_ + bias_;
    } else {
      const ivec pair = widen(codes + p / 2);
#if defined(__AVX512F__)
      low = pick(pair);
      high = pick(pair >> 4);
#else
      low = to_float(pair & 15) * scale_ + bias_;
      high = to_float(pair >> 4) * scale_ + bias_;
#endif
    }
  }

 private:
#if defined(__AVX512F__)
  /** The low four bits of each lane choose. */
  vec pick(ivec code) const {
    return reinterpret_cast<vec>(
        _mm512_permutexvar_ps(reinterpret_cast<__m512i>(code), reinterpret_cast<__m512>(values_)));
  }
  vec values_{};
#endif
  vec scale_, bias_;
};

/** BLOCKS: how many blocks of 32 a group has. */
template <int BITS, int BLOCKS>
void unpack_groups(const FrozenMatrix& w, int first, int count, int column, int width, float* out) {
  constexpr int group = 32 * BLOCKS;
  const int groups = width / group;
  const size_t size = scale_bytes(w.packing.scales);
  const RowLayout layout(w);
  thread_local std::vector<float> scales, biases;
  scales.resize(groups);
  biases.resize(groups);
  for (int i = 0; i < count; i++, out += width) {
    const uint8_t* row = w.data + layout.row * (first + i);
    read_scales(row + layout.scales + size * (column / group), w.packing.scales, groups, scales.data());
    read_scales(row + layout.biases + size * (column / group), w.packing.scales, groups, biases.data());
    const uint8_t* codes = row + (size_t)column * BITS / 8;
    for (int g = 0; g < groups; g++) {
      const Group<BITS> elements(scales[g], biases[g]);
      for (int block = 0; block < BLOCKS; block++) {
        const int p = g * group + 32 * block;
        vec low, high;
        elements.read(codes, p, low, high);
        store(out + p, low);
        store(out + p + 16, high);
      }
    }
  }
}

template <int BITS>
void unpack_tile(const FrozenMatrix& w, int first, int count, int column, int width, float* out) {
  if (w.packing.group == 32) unpack_groups<BITS, 1>(w, first, count, column, width, out);
  else if (w.packing.group == 64) unpack_groups<BITS, 2>(w, first, count, column, width, out);
  else unpack_groups<BITS, 4>(w, first, count, column, width, out);
}

typedef uint16_t halfwords __attribute__((vector_size(32), aligned(1)));

inline vec from_bf16(const uint16_t* p) {
#if defined(__AVX2__) && !defined(__AVX512F__)
  auto eight = [](const uint16_t* from) {
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    return reinterpret_cast<floats8>(_mm256_slli_epi32(wide, 16));
  };
  return {eight(p), eight(p + 8)};
#else
  return bits_as<vec>(__builtin_convertvector(*reinterpret_cast<const halfwords*>(p), ints16) << 16);
#endif
}

inline vec from_bf16_part(const uint16_t* p, int n) {
  uint16_t room[kLanes] = {};
  std::memcpy(room, p, sizeof(uint16_t) * n);
  return from_bf16(room);
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
  const size_t ahead = C * layout.row;
  size_t fetched = 0;
  for (int g = 0; g < groups; g++) {
    // The next columns come from memory while these are multiplied: rows are too short for the processor to notice.
    for (; fetched * groups < ahead * (g + 1); fetched += 64) __builtin_prefetch(codes[0] + ahead + fetched);
    for (int p = g * group; p < (g + 1) * group; p += 32) {
      for (int c = 0; c < C; c++) {
        const Group<BITS> elements(scales[2 * c * groups + g], scales[(2 * c + 1) * groups + g]);
        vec low, high;
        elements.read(codes[c], p, low, high);
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

/** C columns of a tile at once, whatever the bits. */
template <int BITS, int R, int C>
void columns_of_rows(const FrozenMatrix& w, int& j, int end, const float* x, float* y, bool accumulate) {
  for (; j + C <= end; j += C) {
    if constexpr (BITS == 16) bf16_tile<R, C>(w, j, x, y, w.rows, accumulate);
    else direct_tile<BITS, R, C>(w, j, x, y, w.rows, accumulate);
  }
}

template <int BITS, int R>
void direct_rows(const FrozenMatrix& w, int first, int count, const float* x, float* y, bool accumulate) {
  int j = first;
  // Half of the registers hold sums. One row alone has as many under way as columns: few would wait for each other.
  constexpr int wide = kVectors >= 32 ? (R == 1 ? 8 : 4) : std::max(1, kVectors / 2 / R);
  columns_of_rows<BITS, R, wide>(w, j, first + count, x, y, accumulate);
  if constexpr (wide > 4) columns_of_rows<BITS, R, 4>(w, j, first + count, x, y, accumulate);
  columns_of_rows<BITS, R, 1>(w, j, first + count, x, y, accumulate);
}

template <int BITS>
void direct(const FrozenMatrix& w, int first, int count, int m, const float* x, float* y, bool accumulate) {
  if (m == 1) direct_rows<BITS, 1>(w, first, count, x, y, accumulate);
  else if (m == 2) direct_rows<BITS, 2>(w, first, count, x, y, accumulate);
  else if (m == 3) direct_rows<BITS, 3>(w, first, count, x, y, accumulate);
  else direct_rows<BITS, 4>(w, first, count, x, y, accumulate);
}

}  // namespace

float* scratch(size_t floats) {
  thread_local std::vector<float> room;
  if (room.size() < floats) room.resize(floats);
  return room.data();
}

void prefetch_rows(const FrozenMatrix& w, int first, int count) {
  const size_t row = w.packing.row_bytes(w.columns);
  const uint8_t* end = w.data + row * std::min(w.rows, first + count);
  for (const uint8_t* p = w.data + row * first; p < end; p += 64) __builtin_prefetch(p);
}

size_t scale_bytes(mx::Dtype dtype) { return dtype == mx::float32 ? 4 : 2; }

void unpack(const FrozenMatrix& w, int first, int count, int column, int width, float* out) {
  if (w.packing.bits == 16) unpack_bf16(w, first, count, column, width, out);
  else if (w.packing.bits == 4) unpack_tile<4>(w, first, count, column, width, out);
  else unpack_tile<8>(w, first, count, column, width, out);
}

void multiply_rows(const FrozenMatrix& w, int first, int count, int m, const float* x, float* y, bool accumulate) {
  if (w.packing.bits == 16) direct<16>(w, first, count, m, x, y, accumulate);
  else if (w.packing.bits == 4) direct<4>(w, first, count, m, x, y, accumulate);
  else direct<8>(w, first, count, m, x, y, accumulate);
}

}  // namespace shadow
