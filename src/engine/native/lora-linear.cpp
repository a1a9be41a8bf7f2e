// Several projections of one input through one frozen, stacked matrix, each with its own LoRA factors.
//   y_i = x·W_iᵀ + s·(x·A_iᵀ)·B_iᵀ (+ residual)
//   dx = dy·W + Σ s·(dy_i·B_i)·A_i,  dA_i = s·(dy_i·B_i)ᵀ·x,  dB_i = s·dy_iᵀ·(x·A_iᵀ)
// The frozen matrix has no gradient, and none is computed. s·x·A_iᵀ is a second output, kept for the gradients: it is small.
#include <algorithm>
#include <cstring>

#include "blas.h"
#include "exact-linear.h"
#include "fused.h"
#include "micro-gemm.h"
#include "parallel.h"
#include "primitive.h"

namespace shadow {
namespace {

/** Which projections there are and where their factors stand among a primitive's inputs. */
struct Plan {
  std::vector<int> outputs;  // columns of each projection
  std::vector<int> ranks;    // 0 where a projection has no factors
  float scale;
  bool has_residual;
  bool exact_rows;
  Packing packing;  // of the frozen matrix

  int total_rank() const {
    int total = 0;
    for (int r : ranks) total += r;
    return total;
  }
  /** Whether s·x·A_iᵀ of all projections is an output; inference needs none, and computes it row by row. */
  bool keeps_low() const { return total_rank() > 0 && !exact_rows; }
};

/** Calls body(index, column, rank_offset, factor) for each projection with factors; factor counts those only. */
template <class Body>
void each_adapted(const Plan& plan, Body body) {
  int column = 0, offset = 0, factor = 0;
  for (size_t i = 0; i < plan.outputs.size(); i++) {
    if (plan.ranks[i] > 0) body(static_cast<int>(i), column, offset, factor++);
    column += plan.outputs[i];
    offset += plan.ranks[i];
  }
}

/** low[rows, R] = scale · x · [A_0; A_1; …]ᵀ */
void project_down(const Plan& plan, int n, int k, const float* x, const std::vector<mx::array>& in, int first,
                  float* low) {
  const int total = plan.total_rank();
  std::vector<float> stacked_t((size_t)k * total);
  each_adapted(plan, [&](int i, int, int offset, int factor) {
    transpose(plan.ranks[i], k, in[first + 2 * factor].data<float>(), k, stacked_t.data() + offset, total);
  });
  parallel_gemm(n, total, k, plan.scale, {x, k, 1}, stacked_t.data(), total, low, total, false);
}

/** y_i += scale · (x·A_iᵀ)·B_iᵀ for a few rows: A and B are read as they lie, transposing them would cost more. */
void add_exact_deltas(const Plan& plan, int n, int k, int m, const float* x, const std::vector<mx::array>& in,
                      int first, float* y) {
  each_adapted(plan, [&](int i, int column, int, int factor) {
    const int r = plan.ranks[i];
    std::vector<float> low((size_t)n * r);
    exact_linear(n, r, k, x, in[first + 2 * factor].data<float>(), low.data(), r, false);
    for (auto& value : low) value *= plan.scale;
    exact_linear(n, plan.outputs[i], r, low.data(), in[first + 1 + 2 * factor].data<float>(), y + column, m, true);
  });
}

class LoraLinearGrad : public FusedPrimitive {
 public:
  LoraLinearGrad(Plan plan, bool wants_x) : plan_(std::move(plan)), wants_x_(wants_x) {}
  const char* name() const override { return "LoraLinearGrad"; }

  // Inputs: dy, x, W, then low where it was kept, A_0, B_0, …; outputs: dx if wanted, then dA_0, dB_0, …
  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    queue(outputs, inputs, [plan = plan_, wants_x = wants_x_](auto& in, auto& out) {
      const float* dy = in[0].template data<float>();
      const float* x = in[1].template data<float>();
      const int n = rows(in[1]), k = width(in[1]), m = width(in[0]), total = plan.total_rank();
      float* dx = wants_x ? out[0].template data<float>() : nullptr;
      if (wants_x) frozen_nn(frozen_matrix(in[2], plan.packing), n, dy, dx, false);
      if (total == 0) return;
      std::vector<float> computed, slope((size_t)n * total), stacked((size_t)total * k), d_b_t;
      const int first = plan.keeps_low() ? 4 : 3;
      if (!plan.keeps_low()) {
        computed.resize((size_t)n * total);
        project_down(plan, n, k, x, in, first, computed.data());
      }
      const float* low = plan.keeps_low() ? in[3].template data<float>() : computed.data();
      each_adapted(plan, [&](int i, int column, int offset, int factor) {
        const int r = plan.ranks[i];
        const float* a = in[first + 2 * factor].template data<float>();
        const float* b = in[first + 1 + 2 * factor].template data<float>();
        float* d_b = out[(wants_x ? 2 : 1) + 2 * factor].template data<float>();
        std::memcpy(stacked.data() + (size_t)offset * k, a, sizeof(float) * r * k);
        parallel_gemm(n, r, plan.outputs[i], plan.scale, {dy + column, m, 1}, b, r, slope.data() + offset, total,
                      false);
        const int columns = plan.outputs[i];
        d_b_t.resize((size_t)r * columns);
        sgemm(kTransposed, kPlain, r, columns, n, 1, low + offset, total, dy + column, m, 0, d_b_t.data(), columns);
        transpose(r, columns, d_b_t.data(), columns, d_b, r);
      });
      if (wants_x) sgemm(kPlain, kPlain, n, k, total, 1, slope.data(), total, stacked.data(), k, 1, dx, k);
      sgemm(kTransposed, kPlain, total, k, n, 1, slope.data(), total, x, k, 0, stacked.data(), k);
      each_adapted(plan, [&](int i, int, int offset, int factor) {
        float* d_a = out[(wants_x ? 1 : 0) + 2 * factor].template data<float>();
        std::memcpy(d_a, stacked.data() + (size_t)offset * k, sizeof(float) * plan.ranks[i] * k);
      });
    });
  }

 private:
  Plan plan_;
  bool wants_x_;
};

/** The backward pass needs x again. Where x is cheap to compute from what is kept anyway, computing it a second
 *  time costs under 1 % of a step and saves a fifth of its memory. */
mx::array recomputed(const mx::array& x) {
  if (!x.has_primitive()) return x;
  const std::string name = x.primitive().name();
  if (name != "RmsNorm" && name != "GatedActivation") return x;
  return mx::array(x.shape(), x.dtype(), x.primitive_ptr(), x.inputs());
}

class LoraLinear : public FusedPrimitive {
 public:
  explicit LoraLinear(Plan plan) : plan_(std::move(plan)) {}
  const char* name() const override { return "LoraLinear"; }

  // Inputs: x, W, residual if there is one, A_0, B_0, …
  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    queue(outputs, inputs, [plan = plan_](auto& in, auto& out) {
      const float* x = in[0].template data<float>();
      const FrozenMatrix w = frozen_matrix(in[1], plan.packing);
      const int n = rows(in[0]), k = width(in[0]), m = width(out[0]), total = plan.total_rank();
      const int first = plan.has_residual ? 3 : 2;
      float* y = out[0].template data<float>();
      if (plan.has_residual) std::memcpy(y, in[2].template data<float>(), sizeof(float) * n * m);
      if (plan.exact_rows) {
        exact_linear(w, n, x, y, m, plan.has_residual);
      } else {
        frozen_nt(w, n, x, y, plan.has_residual);
      }
      if (total == 0) return;
      if (plan.exact_rows) {
        add_exact_deltas(plan, n, k, m, x, in, first, y);
        return;
      }
      float* low = out[1].template data<float>();
      project_down(plan, n, k, x, in, first, low);
      each_adapted(plan, [&](int i, int column, int offset, int factor) {
        sgemm(kPlain, kTransposed, n, plan.outputs[i], plan.ranks[i], 1, low + offset, total,
              in[first + 1 + 2 * factor].template data<float>(), plan.ranks[i], 1, y + column, m);
      });
    });
  }

  std::vector<mx::array> vjp(const std::vector<mx::array>& primals, const std::vector<mx::array>& cotangents,
                             const std::vector<int>& wanted, const std::vector<mx::array>& outputs) override {
    const int first = plan_.has_residual ? 3 : 2;
    bool wants_x = false;
    for (int i : wanted) {
      require(i != 1, "loraLinear: the base matrix is frozen");
      if (i == 0) wants_x = true;
    }
    auto dy = dense(cotangents[0]);
    std::vector<mx::array> inputs{dy, recomputed(primals[0]), primals[1]};
    if (plan_.keeps_low()) inputs.push_back(outputs[1]);
    std::vector<mx::Shape> shapes;
    if (wants_x) shapes.push_back(primals[0].shape());
    for (size_t i = first; i < primals.size(); i++) {
      inputs.push_back(primals[i]);
      shapes.push_back(primals[i].shape());
    }
    std::vector<mx::array> grads;
    if (!shapes.empty()) {
      std::vector<mx::Dtype> dtypes(shapes.size(), mx::float32);
      grads = mx::array::make_arrays(shapes, dtypes, std::make_shared<LoraLinearGrad>(plan_, wants_x), inputs);
    }
    std::vector<mx::array> result;
    for (int i : wanted) {
      if (i == 0) result.push_back(grads[0]);
      else if (plan_.has_residual && i == 2) result.push_back(dy);
      else result.push_back(grads[(wants_x ? 1 : 0) + i - first]);
    }
    return result;
  }

 private:
  Plan plan_;
};

}  // namespace

mx::array lora_linear(const mx::array& x, const mx::array& weight, std::vector<int> outputs,
                      const std::vector<LoraFactors>& factors, float scale, const std::optional<mx::array>& residual,
                      bool exact_rows, const Packing& packing) {
  require(x.ndim() == 2 && width(x) == frozen_columns(weight, packing), "loraLinear: x (rows, k), weight (n, k)");
  require(factors.empty() || factors.size() == outputs.size(), "loraLinear: one pair of factors for each projection");
  int total = 0;
  for (int n : outputs) total += n;
  require(total == weight.shape(0), "loraLinear: the projections' widths must add up to the weight's rows");
  Plan plan{std::move(outputs), {}, scale, residual.has_value(), exact_rows, packing};
  std::vector<mx::array> inputs{dense(x), frozen_input(weight, packing)};
  if (residual) {
    require(residual->ndim() == 2 && residual->shape(0) == x.shape(0) && width(*residual) == total,
            "loraLinear: the residual has the result's shape");
    inputs.push_back(dense(*residual));
  }
  for (size_t i = 0; i < plan.outputs.size(); i++) {
    if (factors.empty() || !factors[i].a || !factors[i].b) {
      plan.ranks.push_back(0);
      continue;
    }
    const auto& a = *factors[i].a;
    const auto& b = *factors[i].b;
    require(a.ndim() == 2 && b.ndim() == 2 && width(a) == width(x) && width(b) == a.shape(0) &&
                b.shape(0) == plan.outputs[i],
            "loraLinear: A is (r, k) and B is (n, r)");
    plan.ranks.push_back(a.shape(0));
    inputs.push_back(dense(a));
    inputs.push_back(dense(b));
  }
  std::vector<mx::Shape> shapes{{x.shape(0), total}};
  if (plan.keeps_low()) shapes.push_back({x.shape(0), plan.total_rank()});
  const std::vector<mx::Dtype> dtypes(shapes.size(), mx::float32);
  return mx::array::make_arrays(shapes, dtypes, std::make_shared<LoraLinear>(std::move(plan)), inputs)[0];
}

}  // namespace shadow
