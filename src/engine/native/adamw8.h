// AdamW with moments of 8 bits: blocks of 256 values that share a scale (arXiv 2110.02861), one byte a value.
#pragma once

#include <cstdint>
#include <vector>

#include "fused.h"

namespace shadow {

constexpr int kMomentBlock = 256;

/** One tensor's moments of one order: a code for each value, a scale for each block. Owned by the caller. */
struct PackedMoments {
  uint8_t* codes;
  float* scales;
  size_t size;
};

/** The step of `adamw`, with moments that are unpacked, changed and packed again block by block. */
void adamw8(std::vector<mx::array>& parameters, const std::vector<mx::array>& gradients,
            const std::vector<PackedMoments>& first, const std::vector<PackedMoments>& second, AdamW options,
            float gradient_scale);

/** Packing what was unpacked gives the same codes and scales. `is_signed`: first moments; else second ones. */
void pack_moments(const float* values, PackedMoments into, bool is_signed);
void unpack_moments(PackedMoments from, float* values, bool is_signed);

}  // namespace shadow
