// How packed panels and rows of bfloat16 become floats, a register or two at a time. The layout stands in
// frozen-matrix.h.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "frozen-matrix.h"
#include "row-panels.h"
#include "simd.h"

namespace shadow {

typedef uint8_t bytes16 __attribute__((vector_size(16), aligned(1)));
typedef uint16_t halfwords16 __attribute__((vector_size(32), aligned(1)));

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

/** Sixteen bfloat16: the upper halves of float32. */
inline vec from_bf16(const uint16_t* p) {
#if defined(__AVX2__) && !defined(__AVX512F__)
  auto eight = [](const uint16_t* from) {
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    return reinterpret_cast<floats8>(_mm256_slli_epi32(wide, 16));
  };
  return {eight(p), eight(p + 8)};
#else
  return bits_as<vec>(__builtin_convertvector(*reinterpret_cast<const halfwords16*>(p), ints16) << 16);
#endif
}

inline float half_to_float(uint16_t bits) {
  const uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
  const uint32_t magnitude = bits & 0x7fff;
  if (magnitude >= 0x7c00) return bits_as<float>(sign | 0x7f800000 | (magnitude & 1023) << 13);
  if (magnitude >= 0x0400) return bits_as<float>(sign | ((magnitude << 13) + 0x38000000));
  const float subnormal = (float)magnitude * 0x1p-24f;
  return bits_as<float>(bits_as<uint32_t>(subnormal) | sign);
}

inline uint16_t halfword(const uint8_t* from) { return static_cast<uint16_t>(from[0] | from[1] << 8); }

/** One scale or bias. */
inline float read_scale(const uint8_t* from, mx::Dtype dtype) {
  if (dtype == mx::float16) return half_to_float(halfword(from));
  if (dtype == mx::bfloat16) return bits_as<float>((uint32_t)halfword(from) << 16);
  float value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

/** Scales or biases of sixteen rows. */
inline vec read_scales(const uint8_t* from, mx::Dtype dtype) {
  if (dtype == mx::float32) return load(reinterpret_cast<const float*>(from));
  if (dtype == mx::bfloat16) return from_bf16(reinterpret_cast<const uint16_t*>(from));
#if defined(__AVX512F__)
  return reinterpret_cast<vec>(_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))));
#elif defined(__F16C__)
  auto eight = [](const uint8_t* p) {
    return reinterpret_cast<floats8>(_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  };
  return {eight(from), eight(from + 16)};
#else
  float room[kLanes];
  for (int i = 0; i < kLanes; i++) room[i] = half_to_float(halfword(from + 2 * i));
  return load(room);
#endif
}

/** Where the parts of a packed panel lie, and how many rows it has. */
struct PackedPanel {
  const uint8_t* codes;
  const uint8_t* scales;
  const uint8_t* biases;
  /** Scales, or biases, of one group. */
  size_t of_group;
  int rows;

  PackedPanel(const FrozenMatrix& w, int panel) : rows(std::min(kPanelRows, w.rows - panel * kPanelRows)) {
    of_group = rows * scale_bytes(w.packing.scales);
    codes = w.data + w.packing.row_bytes(w.columns) * panel * kPanelRows;
    scales = codes + (size_t)rows * w.columns * w.packing.bits / 8;
    biases = scales + w.columns / w.packing.group * of_group;
  }
};

/** Codes of column p + J of a full panel, p even, J 0 or 1. */
template <int BITS, int J>
inline vec read_code(const uint8_t* codes, int p) {
  if constexpr (BITS == 8) return to_float(widen(codes + (p + J) * kPanelRows));
  const ivec pair = widen(codes + p * (kPanelRows / 2));
  if constexpr (J == 0) return to_float(pair & 15);
  else return to_float(pair >> 4);
}

/** Codes of columns p and p + 1 of a full panel, p even. */
template <int BITS>
inline void read_codes(const uint8_t* codes, int p, vec& first, vec& second) {
  if constexpr (BITS == 4) {
    const ivec pair = widen(codes + p * (kPanelRows / 2));
    first = to_float(pair & 15);
    second = to_float(pair >> 4);
  } else {
    first = to_float(widen(codes + p * kPanelRows));
    second = to_float(widen(codes + (p + 1) * kPanelRows));
  }
}

}  // namespace shadow
