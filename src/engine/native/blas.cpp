// libmlx imports these three; defining them here, in the first library of the lookup scope, puts OpenBLAS
// behind MLX's own matmul in place of the reference BLAS that ships beside libmlx.
#include "blas.h"

extern "C" {
void scipy_cblas_dgemm(int, int, int, int, int, int, double, const double*, int, const double*, int, double,
                       double*, int);
void scipy_cblas_cgemm(int, int, int, int, int, int, const void*, const void*, int, const void*, int,
                       const void*, void*, int);

#define SHADOW_EXPORT __attribute__((visibility("default")))

SHADOW_EXPORT void cblas_sgemm(int order, int ta, int tb, int m, int n, int k, float alpha, const float* a,
                               int lda, const float* b, int ldb, float beta, float* c, int ldc) {
  scipy_cblas_sgemm(order, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

SHADOW_EXPORT void cblas_dgemm(int order, int ta, int tb, int m, int n, int k, double alpha, const double* a,
                               int lda, const double* b, int ldb, double beta, double* c, int ldc) {
  scipy_cblas_dgemm(order, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

SHADOW_EXPORT void cblas_cgemm(int order, int ta, int tb, int m, int n, int k, const void* alpha,
                               const void* a, int lda, const void* b, int ldb, const void* beta, void* c,
                               int ldc) {
  scipy_cblas_cgemm(order, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
}

namespace shadow {

void sgemm_nt(int m, int n, int k, const float* a, const float* b, float* c, bool accumulate) {
  scipy_cblas_sgemm(101, 111, 112, m, n, k, 1.0f, a, k, b, k, accumulate ? 1.0f : 0.0f, c, n);
}

void sgemm_nn(int m, int n, int k, const float* a, const float* b, float* c, bool accumulate) {
  scipy_cblas_sgemm(101, 111, 111, m, n, k, 1.0f, a, k, b, n, accumulate ? 1.0f : 0.0f, c, n);
}

}  // namespace shadow
