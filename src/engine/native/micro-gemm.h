// Matrix products that are too thin, or too strided, for a general BLAS: LoRA's low-rank factors and
// the tiles of attention.
#pragma once

namespace shadow {

/** A matrix operand read one element at a time, so any strides will do (a transpose costs nothing). */
struct Strided {
  const float* data;
  long row;
  long column;
};

/** c[m,n] (+)= alpha · a[m,k] · b[k,n]; b and c are row-major with leading dimensions ldb and ldc.
 *  Each element's sum runs over k in order, whatever m and n are. Runs on the calling thread. */
void micro_gemm(int m, int n, int k, float alpha, Strided a, const float* b, long ldb, float* c, long ldc,
                bool accumulate);

/** The same, split over the pool's threads by rows or, where there are few, by columns. */
void parallel_gemm(int m, int n, int k, float alpha, Strided a, const float* b, long ldb, float* c, long ldc,
                   bool accumulate);

/** out[columns, rows] = in[rows, columns]ᵀ, with leading dimensions in elements. */
void transpose(int rows, int columns, const float* in, long ld_in, float* out, long ld_out);

}  // namespace shadow
