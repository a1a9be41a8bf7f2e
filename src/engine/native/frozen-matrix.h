// A weight that is never trained, dense or packed, and the products with it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "mlx/array.h"

namespace shadow {

namespace mx = mlx::core;

constexpr int kLargestGroup = 128;

/** Affine quantisation as MLX and GGUF know it: w = scale · code + bias, one scale and bias for `group` codes of a row;
 *  or, with 16 bits, plain bfloat16.
 *
 *  A packed matrix is one uint32 array (rows, words), as many words as a row's codes, scales and biases take. Sixteen
 *  rows are a panel, which holds their codes column by column, then their scales and their biases group by group; so one
 *  load gives an element of every row. A byte holds a code of 8 bits, or two of 4 bits: columns 2i (low) and 2i + 1 of
 *  one row. The last panel may have fewer rows. Rows of bfloat16 are plain rows.
 *
 *  Files are read row by row (`rows`, made into panels by to_panels): a row's codes, then its scales, then its biases.
 *  Codes of 4 bits lie in blocks of 32 as in GGUF: the low half of byte j is element j, the high half element j + 16. */
struct Packing {
  int bits = 0;  // 4, 8 or 16; 0 for a dense float32 matrix
  int group = 0;  // a multiple of 32; not used with 16 bits
  mx::Dtype scales = mx::float32;  // or float16, bfloat16; not used with 16 bits
  /** frozen_nt and frozen_nn round both operands to bfloat16 and sum in float32, where the processor has the
   *  instruction; exact_linear never does. */
  bool bf16_products = false;

  bool packed() const { return bits != 0; }
  /** Bytes of a row of this many elements. */
  size_t row_bytes(int columns) const;
  /** Elements in a row of this many bytes; −1 where that is impossible. */
  int columns(size_t row_bytes) const;
};

struct FrozenMatrix {
  const uint8_t* data;
  int rows;
  int columns;
  Packing packing;

  const float* dense() const { return reinterpret_cast<const float*>(data); }
  const uint16_t* bf16() const { return reinterpret_cast<const uint16_t*>(data); }
};

/** (rows, columns) of an evaluated array. */
FrozenMatrix frozen_matrix(const mx::array& weight, const Packing& packing);

/** The matrix's columns, as its array's shape and packing tell; throws std::invalid_argument where they don't. */
int frozen_columns(const mx::array& weight, const Packing& packing);

/** A dense view of the array in the dtype that the packing asks for; throws std::invalid_argument. */
mx::array frozen_input(const mx::array& weight, const Packing& packing);

/** y[m, rows] (+)= x[m, columns] · Wᵀ */
void frozen_nt(const FrozenMatrix& w, int m, const float* x, float* y, bool accumulate);

/** dx[m, columns] (+)= dy[m, rows] · W */
void frozen_nn(const FrozenMatrix& w, int m, const float* dy, float* dx, bool accumulate);

/** A float32 matrix (rows, even columns), rounded to the 16-bit packing. */
mx::array pack_bf16(const mx::array& weight);

/** out[count, width] = elements [column, column + width) of rows [first, first + count) of a packed matrix; column and
 *  width are multiples of the group, where there are groups. Fastest from a multiple of 16 on. */
void unpack(const FrozenMatrix& w, int first, int count, int column, int width, float* out);

/** The rows `indices` (n) int32 of a packed matrix as float32, (n, columns). */
mx::array take_rows(const mx::array& weight, const mx::array& indices, const Packing& packing);

/** Packed rows of 4 or 8 bits as a packed matrix. */
mx::array to_panels(const mx::array& rows, const Packing& packing);

/** The whole matrix as a float32 array. */
mx::array unpacked(const mx::array& weight, const Packing& packing);

/** MLX's own format (codes (rows, columns·bits/32) uint32, scales and biases (rows, columns/group)) as packed rows. */
mx::array pack(const mx::array& codes, const mx::array& scales, const mx::array& biases, int bits, int group);

}  // namespace shadow
