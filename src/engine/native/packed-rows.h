// The rows of packed matrices, turned to floats. `unpack` itself is declared in frozen-matrix.h.
#pragma once

#include "frozen-matrix.h"

namespace shadow {

/** Room for this thread's tile; it grows to the largest one asked for. */
float* scratch(size_t floats);

size_t scale_bytes(mx::Dtype dtype);

/** Asks for rows [first, first + count) of the matrix, as many of them as there are. */
void prefetch_rows(const FrozenMatrix& w, int first, int count);

/** y[m, first..first + count) (+)= x · Wᵀ for up to four rows of x, as exact_linear sums; rows of y are w.rows apart.
 *  The matrix is not dense. */
void multiply_rows(const FrozenMatrix& w, int first, int count, int m, const float* x, float* y, bool accumulate);

}  // namespace shadow
