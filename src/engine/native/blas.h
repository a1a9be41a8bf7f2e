// The large matrix products. All matrices are dense, row-major f32.
#pragma once

extern "C" {
void scipy_cblas_sgemm(int order, int ta, int tb, int m, int n, int k, float alpha, const float* a, int lda,
                       const float* b, int ldb, float beta, float* c, int ldc);
char* scipy_openblas_get_corename();
char* scipy_openblas_get_config();
}

namespace shadow {

// CBLAS's own numbers.
constexpr int kRowMajor = 101, kPlain = 111, kTransposed = 112;

/** cblas_sgemm in row-major order, over the pool. */
void sgemm(int ta, int tb, int m, int n, int k, float alpha, const float* a, int lda, const float* b, int ldb,
           float beta, float* c, int ldc);

/** c[m,n] (+)= a[m,k] · b[n,k]ᵀ */
void sgemm_nt(int m, int n, int k, const float* a, const float* b, float* c, bool accumulate);

/** c[m,n] (+)= a[m,k] · b[k,n] */
void sgemm_nn(int m, int n, int k, const float* a, const float* b, float* c, bool accumulate);

}  // namespace shadow
