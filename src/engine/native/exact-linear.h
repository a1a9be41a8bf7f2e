// The matrix product of inference.
#pragma once

#include "frozen-matrix.h"

namespace shadow {

/** y[m, rows] (+)= x[m, columns] · Wᵀ, where each element is one sum along k in order: the same to the last bit whatever
 *  other rows are in the batch, and whether the matrix is packed or was unpacked. W is read once from memory for all
 *  rows of x. Rows of y are ldy apart. */
void exact_linear(const FrozenMatrix& w, int m, const float* x, float* y, long ldy, bool accumulate);

/** The same with a dense float32 matrix w[n, k]. */
void exact_linear(int m, int n, int k, const float* x, const float* w, float* y, long ldy, bool accumulate);

}  // namespace shadow
