// Weights sixteen rows at a time, side by side: what every product that does not go through BLAS reads. How packed
// panels lie in memory stands in frozen-matrix.h.
#pragma once

#include "frozen-matrix.h"
#include "simd.h"

namespace shadow {

constexpr int kPanelRows = kLanes;

inline int panels_of(int rows) { return (rows + kPanelRows - 1) / kPanelRows; }

/** out[i · ld + r] = element (16 · panel + r, column + i) for i < depth, zeros for rows that are not there. column and
 *  depth are multiples of the group, where there are groups. */
void fill_panel(const FrozenMatrix& w, int panel, int column, int depth, float* out, long ld);

/** Asks for the scales and biases of a panel, where there are such: they are read in short pieces beside the codes,
 *  too short for the processor's own prefetcher. */
void prefetch_scales(const FrozenMatrix& w, int panel);

/** Row `row` of the matrix as float32. */
void read_row(const FrozenMatrix& w, int row, float* out);

/** Room for this thread's tile; it grows to the largest one asked for. */
float* scratch(size_t floats);

size_t scale_bytes(mx::Dtype dtype);

}  // namespace shadow
