// Large products: OpenBLAS on one thread each, over tiles of the result that the pool hands out.
//
// OpenBLAS's own threads wait for each other inside a product, so on a busy machine each product takes as long as
// its unluckiest thread. Independent tiles lose little when a core is shared; at 256 rows they cost 3 % more packing.
#include "blas.h"

#include <algorithm>

#include "parallel.h"

extern "C" {
void scipy_cblas_dgemm(int, int, int, int, int, int, double, const double*, int, const double*, int, double,
                       double*, int);
void scipy_cblas_cgemm(int, int, int, int, int, int, const void*, const void*, int, const void*, int,
                       const void*, void*, int);
}

namespace shadow {
namespace {

constexpr int kTile = 512;

/** How many tiles to cut a side of this length into. The cut depends on the length alone, never on luck. */
int tiles_of(int length) {
  const int threads = thread_count();
  if (threads == 1) return 1;
  const int wanted = std::max(threads, length / kTile);
  // A multiple of the thread count, so that all finish together where nobody disturbs them.
  return std::min(wanted / threads * threads, std::max(1, length / 16));
}

}  // namespace

void sgemm(int ta, int tb, int m, int n, int k, float alpha, const float* a, int lda, const float* b, int ldb,
           float beta, float* c, int ldc) {
  auto block = [&](int i, int rows, int j, int columns) {
    scipy_cblas_sgemm(kRowMajor, ta, tb, rows, columns, k, alpha, ta == kPlain ? a + (long)i * lda : a + i, lda,
                      tb == kPlain ? b + j : b + (long)j * ldb, ldb, beta, c + (long)i * ldc + j, ldc);
  };
  const bool by_rows = m >= 2 * kTile || m >= n;
  const int side = by_rows ? m : n;
  const int tiles = static_cast<double>(m) * n * k < 1e6 ? 1 : tiles_of(side);
  const int size = ((side + tiles - 1) / tiles + 15) / 16 * 16;
  parallel_for((side + size - 1) / size, [&](int task) {
    const int at = task * size, length = std::min(size, side - at);
    by_rows ? block(at, length, 0, n) : block(0, m, at, length);
  });
}

void sgemm_nt(int m, int n, int k, const float* a, const float* b, float* c, bool accumulate) {
  sgemm(kPlain, kTransposed, m, n, k, 1, a, k, b, k, accumulate ? 1 : 0, c, n);
}

void sgemm_nn(int m, int n, int k, const float* a, const float* b, float* c, bool accumulate) {
  sgemm(kPlain, kPlain, m, n, k, 1, a, k, b, n, accumulate ? 1 : 0, c, n);
}

}  // namespace shadow

// libmlx imports these three; defining them here, in the first library of the lookup scope, puts OpenBLAS
// behind MLX's own matmul in place of the reference BLAS that ships beside libmlx. MLX calls in row-major order.
#define SHADOW_EXPORT extern "C" __attribute__((visibility("default")))

SHADOW_EXPORT void cblas_sgemm(int order, int ta, int tb, int m, int n, int k, float alpha, const float* a,
                               int lda, const float* b, int ldb, float beta, float* c, int ldc) {
  if (order != shadow::kRowMajor) {
    scipy_cblas_sgemm(order, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    return;
  }
  shadow::sgemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
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
