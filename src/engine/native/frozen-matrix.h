// A weight that is never trained, dense or packed, and the products with it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "mlx/array.h"

namespace shadow {

namespace mx = mlx::core;

/** Affine quantisation as MLX and GGUF know it: w = scale · code + bias, one scale and bias for `group` codes of a row;
 *  or, with 16 bits, plain bfloat16.
 *
 *  A packed matrix is one uint32 array (rows, words). A row holds its codes, then its scales, then its biases. Codes of
 *  4 bits lie in blocks of 32 as in GGUF: the low half of byte j is element j, the high half element j + 16. Codes of
 *  8 bits are plain bytes. */
struct Packing {
  int bits = 0;  // 4, 8 or 16; 0 for a dense float32 matrix
  int group = 0;  // a multiple of 32; not used with 16 bits
  mx::Dtype scales = mx::float32;  // or float16, bfloat16; not used with 16 bits
  /** frozen_nt and frozen_nn round both operands to bfloat16 and sum in float32, where the processor has the
   *  instruction; frozen_exact never does. */
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

/** frozen_nt for inference: exact_linear's result on the unpacked matrix, to the last bit. */
void frozen_exact(const FrozenMatrix& w, int m, const float* x, float* y, bool accumulate);

/** A float32 matrix (rows, even columns), rounded to the 16-bit packing. */
mx::array pack_bf16(const mx::array& weight);

/** out[count, width] = elements [column, column + width) of rows [first, first + count) of a packed matrix; column and
 *  width are multiples of the group, where there are groups. */
void unpack(const FrozenMatrix& w, int first, int count, int column, int width, float* out);

/** The whole matrix as a float32 array. */
mx::array unpacked(const mx::array& weight, const Packing& packing);

/** MLX's own format (codes (rows, columns·bits/32) uint32, scales and biases (rows, columns/group)) as a packed matrix. */
mx::array pack(const mx::array& codes, const mx::array& scales, const mx::array& biases, int bits, int group);

}  // namespace shadow
