// The matrix product of inference.
#pragma once

namespace shadow {

/** y[m,n] (+)= x[m,k] · w[n,k]ᵀ, where each row's result is the same to the last bit whatever other rows
 *  are in the batch, and w is read once from memory for all of up to a few dozen rows. Rows of y are ldy apart. */
void exact_linear(int m, int n, int k, const float* x, const float* w, float* y, long ldy, bool accumulate);

}  // namespace shadow
