// Sixteen f32 lanes through the compiler's vector extensions: AVX-512 where the machine has it, and
// whatever the compiler splits it into elsewhere.
#pragma once

#include <cstdint>

namespace shadow {

constexpr int kLanes = 16;
typedef float vec __attribute__((vector_size(64)));
typedef int32_t ivec __attribute__((vector_size(64)));
typedef float vec_unaligned __attribute__((vector_size(64), aligned(4)));

inline vec load(const float* p) { return *reinterpret_cast<const vec_unaligned*>(p); }
inline void store(float* p, vec v) { *reinterpret_cast<vec_unaligned*>(p) = v; }
/** Keeps v in a register: compilers like to read it from memory again for each use, which then bounds the loop. */
inline void pin([[maybe_unused]] vec& v) {
#if defined(__AVX512F__)
  asm("" : "+v"(v));
#endif
}
inline vec splat(float x) { return vec{} + x; }

/** Loads n < 16 lanes, the rest are `fill`. */
inline vec load_part(const float* p, int n, float fill = 0) {
  vec v = splat(fill);
  for (int i = 0; i < n; i++) v[i] = p[i];
  return v;
}
inline void store_part(float* p, vec v, int n) {
  for (int i = 0; i < n; i++) p[i] = v[i];
}

inline vec select(ivec mask, vec a, vec b) {
  return reinterpret_cast<vec>((mask & reinterpret_cast<ivec>(a)) | (~mask & reinterpret_cast<ivec>(b)));
}
inline vec max(vec a, vec b) { return select(a > b, a, b); }
inline vec min(vec a, vec b) { return select(a < b, a, b); }

inline vec swap_halves(vec v) { return __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7); }
inline vec swap_quarters(vec v) { return __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11); }
inline vec swap_pairs(vec v) { return __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13); }
inline vec swap_neighbours(vec v) { return __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14); }

/** Sums the lanes pairwise: one order, whatever the machine. */
inline float sum(vec v) {
  v += swap_halves(v);
  v += swap_quarters(v);
  v += swap_pairs(v);
  v += swap_neighbours(v);
  return v[0];
}
inline float max_lane(vec v) {
  v = max(v, swap_halves(v));
  v = max(v, swap_quarters(v));
  v = max(v, swap_pairs(v));
  return max(v, swap_neighbours(v))[0];
}

/** e^x to 2 ulp for x in [-87, 88]; clamped outside. Minimax polynomial of degree 6 on [-ln2/2, ln2/2]. */
inline vec exp(vec x) {
  x = min(max(x, splat(-87.3f)), splat(88.3f));
  // Adding and subtracting 1.5·2^23 rounds to the nearest integer.
  vec shifted = x * 1.44269504089f + 12582912.0f;
  vec n = shifted - 12582912.0f;
  vec r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  vec p = splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  ivec exponent = (__builtin_convertvector(n, ivec) + 127) << 23;
  return p * reinterpret_cast<vec>(exponent);
}

}  // namespace shadow
