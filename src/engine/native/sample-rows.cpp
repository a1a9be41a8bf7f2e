#include "sample-rows.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "simd.h"

namespace shadow {

Choice sample_row(const float* logits, int n, float temperature, float top_p, double uniform) {
  const int best = static_cast<int>(std::max_element(logits, logits + n) - logits);
  const float maximum = logits[best];
  vec totals{};
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) totals += exp(load(logits + i) - maximum);
  double total = sum(totals);
  for (; i < n; i++) total += std::exp(logits[i] - maximum);
  const double normaliser = maximum + std::log(total);
  if (temperature <= 0) return {best, static_cast<float>(logits[best] - normaliser)};

  std::vector<float> p(n);
  const float inverse = 1 / temperature;
  double mass = 0;
  for (i = 0; i + kLanes <= n; i += kLanes) store(p.data() + i, exp((load(logits + i) - maximum) * inverse));
  for (; i < n; i++) p[i] = std::exp((logits[i] - maximum) * inverse);
  for (i = 0; i < n; i++) mass += p[i];

  int token = best;
  if (top_p >= 1) {
    double left = uniform * mass;
    for (i = 0; i < n; i++) {
      left -= p[i];
      if (p[i] > 0) token = i;
      if (left < 0) break;
    }
  } else {
    // Tokens below (1 − top_p) / n together weigh less than 1 − top_p, so the rest reaches top_p without them.
    const double floor = (1 - static_cast<double>(top_p)) * mass / n;
    std::vector<int> likely;
    for (i = 0; i < n; i++)
      if (p[i] >= floor) likely.push_back(i);
    std::sort(likely.begin(), likely.end(), [&](int a, int b) { return p[a] != p[b] ? p[a] > p[b] : a < b; });
    double kept = 0;
    size_t count = 0;
    while (count < likely.size() && (count == 0 || kept < top_p * mass)) kept += p[likely[count++]];
    double left = uniform * kept;
    for (size_t j = 0; j < count; j++) {
      token = likely[j];
      left -= p[token];
      if (left < 0) break;
    }
  }
  return {token, static_cast<float>(logits[token] - normaliser)};
}

}  // namespace shadow
