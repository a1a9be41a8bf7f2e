// Codes stand for the values of the dynamic map of bitsandbytes' `create_dynamic_map`: seven decades, each with twice
// the steps of the one below. Two departures, both for the sake of a state that can be written and read without loss:
// a block's scale carries the sign of its largest value, which is then exactly 1·scale (there the map's least value is
// −0.993); and a second moment above zero never becomes zero, which would make the next step divide by eps alone.
#include "adamw8.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "parallel.h"
#include "primitive.h"

namespace shadow {
namespace {

struct Map {
  std::array<float, 256> values;
  /** Between each value and the next: what lies above belongs to the next. */
  std::array<float, 255> middles;
};

Map dynamic_map(bool is_signed) {
  constexpr int decades = 7;
  std::vector<double> values{0.0, 1.0};
  for (int decade = 0; decade < decades; decade++) {
    const int steps = 1 << (decade + (is_signed ? 0 : 1));
    for (int step = 0; step < steps; step++) {
      const double value = std::pow(10.0, decade - decades + 1) * (0.1 + 0.9 * (step + 0.5) / steps);
      values.push_back(value);
      if (is_signed) values.push_back(-value);
    }
  }
  std::sort(values.begin(), values.end());
  Map map;
  for (int i = 0; i < 256; i++) map.values[i] = static_cast<float>(values[i]);
  for (int i = 0; i < 255; i++) map.middles[i] = (map.values[i] + map.values[i + 1]) / 2;
  return map;
}

const Map& map_of(bool is_signed) {
  static const Map signed_map = dynamic_map(true), unsigned_map = dynamic_map(false);
  return is_signed ? signed_map : unsigned_map;
}

void pack_block(const float* x, int n, uint8_t* codes, float& scale, bool is_signed) {
  const Map& map = map_of(is_signed);
  scale = 0;
  for (int i = 0; i < n; i++)
    if (std::fabs(x[i]) > std::fabs(scale)) scale = x[i];
  const uint8_t zero = static_cast<uint8_t>(std::lower_bound(map.values.begin(), map.values.end(), 0.0f) - map.values.begin());
  for (int i = 0; i < n; i++) {
    if (scale == 0) {
      codes[i] = zero;
      continue;
    }
    const float ratio = x[i] / scale;
    int code = static_cast<int>(std::upper_bound(map.middles.begin(), map.middles.end(), ratio) - map.middles.begin());
    if (!is_signed && code == zero && x[i] > 0) code = zero + 1;
    codes[i] = static_cast<uint8_t>(code);
  }
}

void unpack_block(const uint8_t* codes, int n, float scale, float* x, bool is_signed) {
  const Map& map = map_of(is_signed);
  for (int i = 0; i < n; i++) x[i] = map.values[codes[i]] * scale;
}

/** Calls body(block, start, length) for each block of a tensor. */
void each_block(size_t size, const std::function<void(size_t, size_t, int)>& body) {
  const long blocks = static_cast<long>((size + kMomentBlock - 1) / kMomentBlock);
  parallel_ranges(blocks, 16, [&](long begin, long end) {
    for (long block = begin; block < end; block++) {
      const size_t start = static_cast<size_t>(block) * kMomentBlock;
      body(block, start, static_cast<int>(std::min<size_t>(kMomentBlock, size - start)));
    }
  });
}

}  // namespace

void pack_moments(const float* values, PackedMoments into, bool is_signed) {
  each_block(into.size, [&](size_t block, size_t start, int n) {
    pack_block(values + start, n, into.codes + start, into.scales[block], is_signed);
  });
}

void unpack_moments(PackedMoments from, float* values, bool is_signed) {
  each_block(from.size, [&](size_t block, size_t start, int n) {
    unpack_block(from.codes + start, n, from.scales[block], values + start, is_signed);
  });
}

void adamw8(std::vector<mx::array>& parameters, const std::vector<mx::array>& gradients,
            const std::vector<PackedMoments>& first, const std::vector<PackedMoments>& second, AdamW o,
            float gradient_scale) {
  const size_t count = parameters.size();
  require(gradients.size() == count && first.size() == count && second.size() == count,
          "adamw8: parameters, gradients and moments must be equally many");
  const AdamWFactors f(o);
  for (size_t i = 0; i < count; i++) {
    const size_t size = parameters[i].size();
    require(gradients[i].size() == size && first[i].size == size && second[i].size == size,
            "adamw8: a gradient or moment has another size than its parameter");
    float* p = in_place(parameters[i]);
    const float* g = in_place(const_cast<mx::array&>(gradients[i]));
    each_block(size, [&](size_t block, size_t start, int n) {
      float m[kMomentBlock], v[kMomentBlock];
      unpack_block(first[i].codes + start, n, first[i].scales[block], m, true);
      unpack_block(second[i].codes + start, n, second[i].scales[block], v, false);
      const AdamWFactors own = f;
      for (int j = 0; j < n; j++) own.apply(p[start + j], g[start + j] * gradient_scale, m[j], v[j]);
      pack_block(m, n, first[i].codes + start, first[i].scales[block], true);
      pack_block(v, n, second[i].codes + start, second[i].scales[block], false);
    });
  }
}

}  // namespace shadow
