// Squares of as many rows as a register has lanes, read from memory and transposed in registers.
#pragma once

#include <cstdint>
#include <cstring>

#include "simd.h"

namespace shadow {

/** to[i] gets lane i of every row. */
inline void transpose_square(const floats4* from, floats4* to) {
  const floats4 a = __builtin_shufflevector(from[0], from[1], 0, 4, 1, 5), b = __builtin_shufflevector(from[0], from[1], 2, 6, 3, 7);
  const floats4 c = __builtin_shufflevector(from[2], from[3], 0, 4, 1, 5), d = __builtin_shufflevector(from[2], from[3], 2, 6, 3, 7);
  to[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
  to[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
  to[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
  to[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}

// Wider ones transpose squares of four within their quarters first, which is cheap, and then move quarters.
inline void transpose_square(const floats8* from, floats8* to) {
  floats8 a[8], b[8];
  for (int i = 0; i < 8; i += 2) {
    a[i] = __builtin_shufflevector(from[i], from[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    a[i + 1] = __builtin_shufflevector(from[i], from[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i += 4)
    for (int j = 0; j < 2; j++) {
      b[i + 2 * j] = __builtin_shufflevector(a[i + j], a[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      b[i + 2 * j + 1] = __builtin_shufflevector(a[i + j], a[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  for (int w = 0; w < 4; w++) {
    to[w] = __builtin_shufflevector(b[w], b[4 + w], 0, 1, 2, 3, 8, 9, 10, 11);
    to[4 + w] = __builtin_shufflevector(b[w], b[4 + w], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

inline void transpose_square(const floats16* from, floats16* to) {
  floats16 a[16], b[16];
  for (int i = 0; i < 16; i += 2) {
    a[i] = __builtin_shufflevector(from[i], from[i + 1], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
    a[i + 1] = __builtin_shufflevector(from[i], from[i + 1], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  }
  for (int i = 0; i < 16; i += 4)
    for (int j = 0; j < 2; j++) {
      b[i + 2 * j] = __builtin_shufflevector(a[i + j], a[i + j + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
      b[i + 2 * j + 1] = __builtin_shufflevector(a[i + j], a[i + j + 2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    }
  // b[4g + w] holds, in its quarter l, lane 4l + w of rows 4g … 4g + 3.
  for (int w = 0; w < 4; w++) {
    floats16 c[4];
    for (int g = 0; g < 2; g++) {
      c[g] = __builtin_shufflevector(b[8 * g + w], b[8 * g + 4 + w], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
      c[2 + g] = __builtin_shufflevector(b[8 * g + w], b[8 * g + 4 + w], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    }
    for (int g = 0; g < 2; g++) {
      to[8 * g + w] = __builtin_shufflevector(c[2 * g], c[2 * g + 1], 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
      to[8 * g + 4 + w] = __builtin_shufflevector(c[2 * g], c[2 * g + 1], 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    }
  }
}

inline float read_one(const float* p) { return *p; }
/** From bfloat16. */
inline float read_one(const uint16_t* p) { return bits_as<float>((uint32_t)*p << 16); }

inline native read_native(const float* p) { return load_native(p); }
inline native read_native(const uint16_t* p) {
  typedef uint16_t halfwords __attribute__((vector_size(sizeof(native) / 2)));
  halfwords halves;
  std::memcpy(&halves, p, sizeof(halves));
  return bits_as<native>(__builtin_convertvector(halves, native_ints) << 16);
}

/** columns[j] = element j of as many rows as there are lanes; they are `length` elements apart. */
template <class Element>
inline void read_square(const Element* rows, long length, native* columns) {
  native square[kNativeLanes];
  for (int j = 0; j < kNativeLanes; j++) square[j] = read_native(rows + j * length);
  transpose_square(square, columns);
}

}  // namespace shadow
