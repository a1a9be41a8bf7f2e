// y = act(g) · u, and its derivative dg = dy·u·act′(g), du = dy·act(g).
//   silu: g·σ(g); act′ = σ(g)·(1 + g·(1 − σ(g))).
//   gelu_tanh (arXiv 1606.08415): ½g·(1 + t) with t = tanh(c·(g + 0.044715·g³)), c = √(2/π);
//   act′ = ½(1 + t) + ½g·(1 − t²)·c·(1 + 3·0.044715·g²).
#include "fused.h"
#include "parallel.h"
#include "primitive.h"
#include "row-kernels.h"
#include "simd.h"

namespace shadow {
namespace {

/** act(g) and act′(g). */
struct Slope {
  vec value, derivative;
};

struct Silu {
  static Slope at(vec g) {
    const vec s = 1.0f / (1.0f + exp(-g));
    return {g * s, s * (1.0f + g * (1.0f - s))};
  }
};

struct GeluTanh {
  static Slope at(vec g) {
    constexpr float c = 0.7978845608f, cubic = 0.044715f;
    const vec t = 1.0f - 2.0f / (1.0f + exp(g * (1.0f + g * g * cubic) * (2 * c)));
    const vec half = (1.0f + t) * 0.5f;
    return {g * half, half + g * (1.0f - t * t) * (1.0f + g * g * (3 * cubic)) * (0.5f * c)};
  }
};

/** Calls body(offset, lanes) over n elements in steps of 16, the last one shorter. */
template <class Body>
inline void lanes_of(int n, Body body) {
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, kLanes);
  if (i < n) body(i, n - i);
}

inline vec get(const float* p, int n) { return n == kLanes ? load(p) : load_part(p, n); }
inline void put(float* p, vec v, int n) { n == kLanes ? store(p, v) : store_part(p, v, n); }

template <class Act>
void forward_row(const float* gate_up, int n, float* y) {
  lanes_of(n, [&](int i, int lanes) {
    put(y + i, Act::at(get(gate_up + i, lanes)).value * get(gate_up + n + i, lanes), lanes);
  });
}

template <class Act>
void backward_row(const float* gate_up, const float* dy, int n, float* dx) {
  lanes_of(n, [&](int i, int lanes) {
    const vec u = get(gate_up + n + i, lanes), d = get(dy + i, lanes);
    const Slope slope = Act::at(get(gate_up + i, lanes));
    put(dx + i, d * u * slope.derivative, lanes);
    put(dx + n + i, d * slope.value, lanes);
  });
}

class GatedActivationGrad : public FusedPrimitive {
 public:
  explicit GatedActivationGrad(Activation activation) : activation_(activation) {}
  const char* name() const override { return "GatedActivationGrad"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    queue(outputs, inputs, [activation = activation_](auto& in, auto& out) {
      const float* x = in[0].template data<float>();
      const float* dy = in[1].template data<float>();
      float* dx = out[0].template data<float>();
      const int n = width(in[1]);
      parallel_ranges(rows(in[1]), 8, [&](long begin, long end) {
        for (long r = begin; r < end; r++) {
          if (activation == Activation::silu) backward_row<Silu>(x + r * 2 * n, dy + r * n, n, dx + r * 2 * n);
          else backward_row<GeluTanh>(x + r * 2 * n, dy + r * n, n, dx + r * 2 * n);
        }
      });
    });
  }

 private:
  Activation activation_;
};

class GatedActivation : public FusedPrimitive {
 public:
  explicit GatedActivation(Activation activation) : activation_(activation) {}
  const char* name() const override { return "GatedActivation"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    queue(outputs, inputs, [activation = activation_](auto& in, auto& out) {
      const float* x = in[0].template data<float>();
      float* y = out[0].template data<float>();
      const int n = width(out[0]);
      parallel_ranges(rows(out[0]), 8, [&](long begin, long end) {
        for (long r = begin; r < end; r++) gated_row(activation, x + r * 2 * n, n, y + r * n);
      });
    });
  }

  std::vector<mx::array> vjp(const std::vector<mx::array>& primals, const std::vector<mx::array>& cotangents,
                             const std::vector<int>&, const std::vector<mx::array>&) override {
    return {mx::array(primals[0].shape(), mx::float32, std::make_shared<GatedActivationGrad>(activation_),
                      {primals[0], dense(cotangents[0])})};
  }

 private:
  Activation activation_;
};

}  // namespace

void gated_row(Activation activation, const float* gate_up, int n, float* y) {
  if (activation == Activation::silu) forward_row<Silu>(gate_up, n, y);
  else forward_row<GeluTanh>(gate_up, n, y);
}

mx::array gated_activation(const mx::array& gate_up, Activation activation) {
  require(gate_up.ndim() == 2 && width(gate_up) % 2 == 0, "gatedActivation: expects (rows, 2n)");
  return mx::array({gate_up.shape(0), width(gate_up) / 2}, mx::float32, std::make_shared<GatedActivation>(activation),
                   {dense(gate_up)});
}

}  // namespace shadow
