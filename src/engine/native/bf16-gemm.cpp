#include "bf16-gemm.h"

#include <algorithm>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
// Compiled for the instructions whatever the rest is compiled for, and called only where they are.
#define SHADOW_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))
#endif

namespace shadow {

void to_bf16(const float* x, long count, uint16_t* out) {
  for (long i = 0; i < count; i++) {
    uint32_t bits;
    std::memcpy(&bits, x + i, 4);
    const bool nan = (bits & 0x7fffffff) > 0x7f800000;
    out[i] = static_cast<uint16_t>(nan ? bits >> 16 | 64 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  }
}

#if defined(__x86_64__)

namespace {

/** Sixteen rows of sixteen 32-bit words, transposed: to[i] gets word i of every row. */
SHADOW_BF16 inline void transpose_words(const __m512i* from, uint32_t* to, long ld_to) {
  __m512i a[16], b[16];
  for (int i = 0; i < 16; i += 2) {
    a[i] = _mm512_unpacklo_epi32(from[i], from[i + 1]);
    a[i + 1] = _mm512_unpackhi_epi32(from[i], from[i + 1]);
  }
  for (int i = 0; i < 16; i += 4)
    for (int j = 0; j < 2; j++) {
      b[i + 2 * j] = _mm512_unpacklo_epi64(a[i + j], a[i + j + 2]);
      b[i + 2 * j + 1] = _mm512_unpackhi_epi64(a[i + j], a[i + j + 2]);
    }
  // b[4g + w] holds, in lane l of 128 bits, word 4l + w of rows 4g … 4g + 3.
  for (int w = 0; w < 4; w++) {
    __m512i low = _mm512_shuffle_i32x4(b[w], b[4 + w], 0x44), high = _mm512_shuffle_i32x4(b[w], b[4 + w], 0xee);
    __m512i low2 = _mm512_shuffle_i32x4(b[8 + w], b[12 + w], 0x44), high2 = _mm512_shuffle_i32x4(b[8 + w], b[12 + w], 0xee);
    _mm512_storeu_si512(to + (0 + w) * ld_to, _mm512_shuffle_i32x4(low, low2, 0x88));
    _mm512_storeu_si512(to + (4 + w) * ld_to, _mm512_shuffle_i32x4(low, low2, 0xdd));
    _mm512_storeu_si512(to + (8 + w) * ld_to, _mm512_shuffle_i32x4(high, high2, 0x88));
    _mm512_storeu_si512(to + (12 + w) * ld_to, _mm512_shuffle_i32x4(high, high2, 0xdd));
  }
}

/** R rows by 32 columns in registers. */
template <int R>
SHADOW_BF16 void tile(int pairs, const uint16_t* a, long lda, const uint32_t* panel, float* c, long ldc,
                      __mmask16 left, __mmask16 right, bool accumulate) {
  __m512 acc[R][2];
  for (int r = 0; r < R; r++) acc[r][0] = acc[r][1] = _mm512_setzero_ps();
  for (int p = 0; p < pairs; p++) {
    const __m512bh b0 = (__m512bh)_mm512_loadu_si512(panel), b1 = (__m512bh)_mm512_loadu_si512(panel + 16);
    panel += kPanel;
    for (int r = 0; r < R; r++) {
      int pair;
      std::memcpy(&pair, a + r * lda + 2 * p, 4);
      const __m512bh x = (__m512bh)_mm512_set1_epi32(pair);
      acc[r][0] = _mm512_dpbf16_ps(acc[r][0], x, b0);
      acc[r][1] = _mm512_dpbf16_ps(acc[r][1], x, b1);
    }
  }
  for (int r = 0; r < R; r++) {
    float* out = c + r * ldc;
    if (accumulate) {
      acc[r][0] = _mm512_add_ps(acc[r][0], _mm512_maskz_loadu_ps(left, out));
      acc[r][1] = _mm512_add_ps(acc[r][1], _mm512_maskz_loadu_ps(right, out + 16));
    }
    _mm512_mask_storeu_ps(out, left, acc[r][0]);
    _mm512_mask_storeu_ps(out + 16, right, acc[r][1]);
  }
}

}  // namespace

bool has_bf16_products() {
#if defined(SHADOW_NO_BF16)
  return false;
#endif
  static const bool found = __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
                            __builtin_cpu_supports("avx512vl");
  return found;
}

SHADOW_BF16 void pack_panel_along(const uint16_t* rows, long ld, int count, int pairs, uint32_t* panel) {
  for (int half = 0; half < 2; half++)
    for (int p = 0; p < pairs; p += 16) {
      const __mmask16 words = static_cast<__mmask16>((1u << std::min(16, pairs - p)) - 1);
      __m512i from[16];
      for (int r = 0; r < 16; r++)
        from[r] = 16 * half + r < count ? _mm512_maskz_loadu_epi32(words, rows + (16 * half + r) * ld + 2 * p)
                                        : _mm512_setzero_si512();
      uint32_t* to = panel + (long)p * kPanel + 16 * half;
      if (p + 16 <= pairs) {
        transpose_words(from, to, kPanel);
        continue;
      }
      uint32_t last[256];
      transpose_words(from, last, 16);
      for (int i = 0; i < pairs - p; i++) std::memcpy(to + i * kPanel, last + i * 16, 64);
    }
}

SHADOW_BF16 void pack_panel_across(const uint16_t* rows, long ld, int count, int columns, uint32_t* panel) {
  const __mmask32 real = columns >= 32 ? ~0u : (1u << columns) - 1;
  alignas(64) uint16_t order[64];
  for (int i = 0; i < 32; i++) {
    order[2 * i] = static_cast<uint16_t>(i);
    order[2 * i + 1] = static_cast<uint16_t>(32 + i);
  }
  const __m512i left = _mm512_load_si512(order), right = _mm512_load_si512(order + 32);
  for (int r = 0; r < count; r += 2, panel += kPanel) {
    const __m512i even = _mm512_maskz_loadu_epi16(real, rows + r * ld);
    const __m512i odd = r + 1 < count ? _mm512_maskz_loadu_epi16(real, rows + (r + 1) * ld) : _mm512_setzero_si512();
    _mm512_storeu_si512(panel, _mm512_permutex2var_epi16(even, left, odd));
    _mm512_storeu_si512(panel + 16, _mm512_permutex2var_epi16(even, right, odd));
  }
}

void multiply_panel(int m, int pairs, const uint16_t* a, long lda, const uint32_t* panel, float* c, long ldc,
                    int columns, bool accumulate) {
  const auto mask = [](int lanes) { return static_cast<__mmask16>((1u << std::clamp(lanes, 0, 16)) - 1); };
  const __mmask16 left = mask(columns), right = mask(columns - 16);
  int i = 0;
  for (; i + 14 <= m; i += 14) tile<14>(pairs, a + i * lda, lda, panel, c + i * ldc, ldc, left, right, accumulate);
  for (; i + 7 <= m; i += 7) tile<7>(pairs, a + i * lda, lda, panel, c + i * ldc, ldc, left, right, accumulate);
  for (; i + 2 <= m; i += 2) tile<2>(pairs, a + i * lda, lda, panel, c + i * ldc, ldc, left, right, accumulate);
  for (; i < m; i++) tile<1>(pairs, a + i * lda, lda, panel, c + i * ldc, ldc, left, right, accumulate);
}

#else

bool has_bf16_products() { return false; }
void pack_panel_along(const uint16_t*, long, int, int, uint32_t*) {}
void pack_panel_across(const uint16_t*, long, int, int, uint32_t*) {}
void multiply_panel(int, int, const uint16_t*, long, const uint32_t*, float*, long, int, bool) {}

#endif

}  // namespace shadow
