// Cross-entropy fused with the language-model head, a chunk of rows at a time: logits never exist for the
// whole batch. With p = softmax(h·Wᵀ), d nll/dh = (p − onehot)·W, which the same chunk yields at once; the
// backward pass then only scales each row by its cotangent, so any function of the per-token values
// (weights, clipping, sequence ratios) can follow.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "fused.h"
#include "parallel.h"
#include "primitive.h"
#include "simd.h"

namespace shadow {
namespace {

constexpr int kChunk = 256;

/** Turns logits into softmax − onehot(target), and returns the negative log-likelihood of the target. */
float softmax_minus_target(float* logits, int n, int target) {
  vec top = splat(-INFINITY);
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) top = max(top, load(logits + i));
  if (i < n) top = max(top, load_part(logits + i, n - i, -INFINITY));
  const float maximum = max_lane(top);
  const float target_logit = logits[target];
  vec total{};
  for (i = 0; i + kLanes <= n; i += kLanes) {
    vec e = exp(load(logits + i) - maximum);
    store(logits + i, e);
    total += e;
  }
  float sum_of_row = sum(total);
  if (i < n) {
    store_part(logits + i, exp(load_part(logits + i, n - i) - maximum), n - i);
    for (; i < n; i++) sum_of_row += logits[i];
  }
  const float inverse = 1 / sum_of_row;
  for (i = 0; i < n; i++) logits[i] *= inverse;
  logits[target] -= 1;
  return maximum + std::log(sum_of_row) - target_logit;
}

/** d hidden: zeros, but for row rows[i], which gets cotangent[i] · slope[i]; rows may repeat. */
class ScatterScaledRows : public FusedPrimitive {
 public:
  const char* name() const override { return "ScatterScaledRows"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    queue(outputs, inputs, [](auto& in, auto& out) {
      const float* cotangent = in[0].template data<float>();
      const float* slope = in[1].template data<float>();
      const int* index = in[2].template data<int>();
      float* d = out[0].template data<float>();
      const int h = width(out[0]);
      std::memset(d, 0, out[0].nbytes());
      for (size_t i = 0; i < in[2].size(); i++) {
        float* row = d + (long)index[i] * h;
        for (int j = 0; j < h; j++) row[j] += cotangent[i] * slope[i * h + j];
      }
    });
  }
};

class LinearCrossEntropy : public FusedPrimitive {
 public:
  explicit LinearCrossEntropy(Packing packing) : packing_(packing) {}
  const char* name() const override { return "LinearCrossEntropy"; }

  // Outputs: nll (n), and d nll/d hidden (n, h) where a gradient is wanted.
  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    queue(outputs, inputs, [packing = packing_](auto& in, auto& out) {
      const float* hidden = in[0].template data<float>();
      const FrozenMatrix weight = frozen_matrix(in[1], packing);
      const int* index = in[2].template data<int>();
      const int* target = in[3].template data<int>();
      float* nll = out[0].template data<float>();
      float* slope = out.size() > 1 ? out[1].template data<float>() : nullptr;
      const int n = static_cast<int>(in[2].size()), h = width(in[0]), vocabulary = in[1].shape(0);
      const int chunk = std::min(kChunk, n);
      std::vector<float> gathered((size_t)chunk * h);
      std::unique_ptr<float[]> logits(new float[(size_t)chunk * vocabulary]);
      for (int i0 = 0; i0 < n; i0 += chunk) {
        const int count = std::min(chunk, n - i0);
        for (int i = 0; i < count; i++)
          std::memcpy(gathered.data() + (size_t)i * h, hidden + (long)index[i0 + i] * h, sizeof(float) * h);
        frozen_nt(weight, count, gathered.data(), logits.get(), false);
        parallel_for(count, [&](int i) {
          nll[i0 + i] = softmax_minus_target(logits.get() + (size_t)i * vocabulary, vocabulary, target[i0 + i]);
        });
        if (slope) frozen_nn(weight, count, logits.get(), slope + (size_t)i0 * h, false);
      }
    });
  }

  std::vector<mx::array> vjp(const std::vector<mx::array>& primals, const std::vector<mx::array>& cotangents,
                             const std::vector<int>& wanted, const std::vector<mx::array>& outputs) override {
    require(wanted.size() == 1 && wanted[0] == 0, "linearCrossEntropy: the head is frozen");
    require(outputs.size() == 2, "linearCrossEntropy: was built without needsGradient");
    return {mx::array(primals[0].shape(), mx::float32, std::make_shared<ScatterScaledRows>(),
                      {dense(cotangents[0]), outputs[1], primals[2]})};
  }

 private:
  Packing packing_;
};

}  // namespace

mx::array linear_cross_entropy(const mx::array& hidden, const mx::array& weight, const mx::array& rows,
                               const mx::array& targets, bool needs_gradient, const Packing& packing) {
  require(hidden.ndim() == 2 && width(hidden) == frozen_columns(weight, packing),
          "linearCrossEntropy: hidden (tokens, h), weight (vocabulary, h)");
  require(rows.ndim() == 1 && rows.shape() == targets.shape() && rows.size() > 0,
          "linearCrossEntropy: rows and targets are equally long and not empty");
  std::vector<mx::Shape> shapes{rows.shape()};
  if (needs_gradient) shapes.push_back({rows.shape(0), width(hidden)});
  std::vector<mx::Dtype> dtypes(shapes.size(), mx::float32);
  return mx::array::make_arrays(shapes, dtypes, std::make_shared<LinearCrossEntropy>(packing),
                                {dense(hidden), frozen_input(weight, packing), dense_int(rows), dense_int(targets)})[0];
}

}  // namespace shadow
