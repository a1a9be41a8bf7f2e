// Vectors of sixteen f32 lanes (lanes.h): loads and stores, sums in one fixed order, and e^x.
#pragma once

#include <algorithm>

#include "lanes.h"

namespace shadow {

/** One register's lanes. */
inline native load_native(const float* p) {
  native v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
inline void store_native(float* p, native v) { std::memcpy(p, &v, sizeof(v)); }

// Register by register: GCC would move a pair through memory in smaller pieces, and wait for them.
inline vec load(const float* p) {
  native parts[kParts];
  for (int i = 0; i < kParts; i++) parts[i] = load_native(p + i * kNativeLanes);
  return join(parts);
}
inline void store(float* p, native v) { store_native(p, v); }
template <class T>
inline void store(float* p, Pair<T> v) {
  store(p, v.low);
  store(p + sizeof(T) / sizeof(float), v.high);
}

/** Subtracting zero changes no bit, unlike adding it, so this is one broadcast. */
inline vec splat(float x) { return x - vec{}; }

/** Loads n < 16 lanes, the rest are `fill`. */
inline vec load_part(const float* p, int n, float fill = 0) {
  float room[kLanes];
  std::fill_n(room, kLanes, fill);
  std::memcpy(room, p, sizeof(float) * n);
  return load(room);
}
inline void store_part(float* p, vec v, int n) {
  float room[kLanes];
  store(room, v);
  std::memcpy(p, room, sizeof(float) * n);
}

/** 0, 1, 2 … 15. */
inline ivec lane_numbers() {
  constexpr ints16 numbers = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return bits_as<ivec>(numbers);
}

template <class T>
inline T max(T a, T b) {
  return select(a > b, a, b);
}
template <class T>
inline T min(T a, T b) {
  return select(a < b, a, b);
}

/** Sums the lanes pairwise, always eight, four, two and one apart: one order, whatever the machine. */
inline float sum(floats4 v) { return (v[0] + v[2]) + (v[1] + v[3]); }
template <class T>
inline float sum(T v) {
  return sum(low_half(v) + high_half(v));
}

inline float max_lane(floats4 v) { return std::max(std::max(v[0], v[1]), std::max(v[2], v[3])); }
template <class T>
inline float max_lane(T v) {
  return max_lane(max(low_half(v), high_half(v)));
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
  ivec exponent = (to_int(n) + 127) << 23;
  return p * bits_as<vec>(exponent);
}

}  // namespace shadow
