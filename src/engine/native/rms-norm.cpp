// y = x · w / sqrt(mean(x²) + eps), over the last axis.
// With n = 1 / sqrt(mean(x²) + eps):  dx = n·(w·dy) − x · n³/d · Σ(w·dy·x),  dw = Σ_rows dy·x·n.
#include <cmath>

#include "fused.h"
#include "parallel.h"
#include "primitive.h"
#include "row-kernels.h"
#include "simd.h"

namespace shadow {
namespace {

float inverse_rms(const float* x, int d, float eps) {
  vec squares{};
  int i = 0;
  for (; i + kLanes <= d; i += kLanes) squares += load(x + i) * load(x + i);
  float total = sum(squares);
  for (; i < d; i++) total += x[i] * x[i];
  return 1.0f / std::sqrt(total / d + eps);
}

class RmsNormGrad : public FusedPrimitive {
 public:
  RmsNormGrad(float eps, bool x, bool w) : eps_(eps), wants_x_(x), wants_weight_(w) {}
  const char* name() const override { return "RmsNormGrad"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    queue(outputs, inputs, [eps = eps_, wants_x = wants_x_, wants_weight = wants_weight_](auto& in, auto& out) {
      const float* x = in[0].template data<float>();
      const float* w = in[1].template data<float>();
      const float* dy = in[2].template data<float>();
      int d = width(in[0]);
      int n = rows(in[0]);
      if (wants_x) {
        float* dx = out[0].template data<float>();
        parallel_ranges(n, 16, [&](long begin, long end) {
          for (long r = begin; r < end; r++) row(x + r * d, w, dy + r * d, dx + r * d, d, eps);
        });
      }
      if (wants_weight) {
        float* dw = out[wants_x ? 1 : 0].template data<float>();
        for (int i = 0; i < d; i++) dw[i] = 0;
        for (int r = 0; r < n; r++) {
          float scale = inverse_rms(x + (long)r * d, d, eps);
          for (int i = 0; i < d; i++) dw[i] += dy[(long)r * d + i] * x[(long)r * d + i] * scale;
        }
      }
    });
  }

 private:
  static void row(const float* x, const float* w, const float* dy, float* dx, int d, float eps) {
    float scale = inverse_rms(x, d, eps);
    vec dots{};
    int i = 0;
    for (; i + kLanes <= d; i += kLanes) dots += load(w + i) * load(dy + i) * load(x + i);
    float dot = sum(dots);
    for (; i < d; i++) dot += w[i] * dy[i] * x[i];
    float pull = scale * scale * scale * dot / d;
    for (i = 0; i < d; i++) dx[i] = scale * w[i] * dy[i] - pull * x[i];
  }

  float eps_;
  bool wants_x_, wants_weight_;
};

class RmsNorm : public FusedPrimitive {
 public:
  explicit RmsNorm(float eps) : eps_(eps) {}
  const char* name() const override { return "RmsNorm"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    queue(outputs, inputs, [eps = eps_](auto& in, auto& out) {
      const float* x = in[0].template data<float>();
      const float* w = in[1].template data<float>();
      float* y = out[0].template data<float>();
      int d = width(in[0]);
      parallel_ranges(rows(in[0]), 16, [&](long begin, long end) {
        for (long r = begin; r < end; r++) rms_norm_row(x + r * d, w, 0, eps, d, y + r * d);
      });
    });
  }

  std::vector<mx::array> vjp(const std::vector<mx::array>& primals, const std::vector<mx::array>& cotangents,
                             const std::vector<int>& wanted, const std::vector<mx::array>&) override {
    bool x = false, w = false;
    for (int i : wanted) (i == 0 ? x : w) = true;
    std::vector<mx::Shape> shapes;
    if (x) shapes.push_back(primals[0].shape());
    if (w) shapes.push_back(primals[1].shape());
    std::vector<mx::Dtype> dtypes(shapes.size(), mx::float32);
    return mx::array::make_arrays(shapes, dtypes, std::make_shared<RmsNormGrad>(eps_, x, w),
                                  {primals[0], primals[1], dense(cotangents[0])});
  }

 private:
  float eps_;
};

}  // namespace

void rms_norm_row(const float* x, const float* w, float offset, float eps, int d, float* y) {
  const float scale = inverse_rms(x, d, eps);
  for (int i = 0; i < d; i++) y[i] = x[i] * scale * (w[i] + offset);
}

mx::array rms_norm(const mx::array& x, const mx::array& weight, float eps) {
  require(x.ndim() >= 1 && weight.ndim() == 1 && weight.shape(0) == width(x), "rmsNorm: weight must match the last axis");
  return mx::array(x.shape(), mx::float32, std::make_shared<RmsNorm>(eps), {dense(x), dense(weight)});
}

}  // namespace shadow
