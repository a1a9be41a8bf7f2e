// Products of bfloat16 pairs, summed in float32: twice the f32 peak where the processor has the instruction for it.
#pragma once

#include <cstdint>

namespace shadow {

/** Columns of one panel. */
constexpr int kPanel = 32;

/** Whether this processor multiplies bfloat16 pairs (AVX512-BF16). Where not, the functions below must not be called. */
bool has_bf16_products();

/** out[i] = x[i], rounded to the nearest even. Any processor. */
void to_bf16(const float* x, long count, uint16_t* out);

/** Pairs along k: panel[p][c] holds elements 2p and 2p + 1 of row c. rows (up to 32, ld apart) of 2·pairs elements. */
void pack_panel_along(const uint16_t* rows, long ld, int count, int pairs, uint32_t* panel);

/** Pairs across rows: panel[p][c] holds column c of rows 2p and 2p + 1, the second zero where there is none. */
void pack_panel_across(const uint16_t* rows, long ld, int count, int columns, uint32_t* panel);

/** c[m, columns] (+)= a[m, 2·pairs] · panel. Rows of `a` are lda elements apart, those of c ldc; columns ≤ 32. */
void multiply_panel(int m, int pairs, const uint16_t* a, long lda, const uint32_t* panel, float* c, long ldc,
                    int columns, bool accumulate);

}  // namespace shadow
