// What a decoder does to each row by itself, as plain functions: the fused operations run them, and so does inference.
#pragma once

#include "fused.h"

namespace shadow {

/** y = x · (w + offset) / sqrt(mean(x²) + eps) for one row of d; y may be x. */
void rms_norm_row(const float* x, const float* w, float offset, float eps, int d, float* y);

/** Turns the first `heads` heads of a row by its angles; y may be x. half: angles of a head; sign −1 turns back. */
void rope_row(const float* x, const float* cosines, const float* sines, int half, float sign, int heads, int dim,
              int columns, float* y);

/** act(gate) · up for one row: gate_up holds n of each. */
void gated_row(Activation activation, const float* gate_up, int n, float* y);

/** Puts each row's key and value into the cache at (slots[i], positions[i]), then lets the row attend to positions
 *  0…positions[i] of its slot, the last `window` of them unless that is 0. qkv (n, (query + 2·key)·dim), rotated;
 *  out (n, query·dim). Rows of one slot may come together, in any order. */
void cached_attention(const float* qkv, int n, KvCache& cache, int layer, const int* slots, const int* positions,
                      Heads heads, float scale, int window, float* out);

}  // namespace shadow
