// Products with a frozen matrix in bfloat16: both operands rounded, sums in float32.
#pragma once

#include "frozen-matrix.h"

namespace shadow {

/** Whether the packing asks for such products and the processor has them. */
bool in_bf16(const Packing& packing);

/** frozen_nt and frozen_nn, where in_bf16. */
void bf16_nt(const FrozenMatrix& w, int m, const float* x, float* y, bool accumulate);
void bf16_nn(const FrozenMatrix& w, int m, const float* dy, float* dx, bool accumulate);

}  // namespace shadow
