// y = silu(g) · u with silu(g) = g·σ(g); dg = dy·u·σ(g)·(1 + g·(1 − σ(g))), du = dy·silu(g).
#include "fused.h"
#include "parallel.h"
#include "primitive.h"
#include "simd.h"

namespace shadow {
namespace {

inline vec sigmoid(vec x) { return 1.0f / (1.0f + exp(-x)); }

/** Applies body(offset, lanes) over a row of n elements in steps of 16, the last one shorter. */
template <class Body>
inline void lanes_of(int n, Body body) {
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, kLanes);
  if (i < n) body(i, n - i);
}

inline vec get(const float* p, int n) { return n == kLanes ? load(p) : load_part(p, n); }
inline void put(float* p, vec v, int n) { n == kLanes ? store(p, v) : store_part(p, v, n); }

class SwigluGrad : public FusedPrimitive {
 public:
  const char* name() const override { return "SwigluGrad"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    queue(outputs, inputs, [](auto& in, auto& out) {
      const float* x = in[0].template data<float>();
      const float* dy = in[1].template data<float>();
      float* dx = out[0].template data<float>();
      int n = width(in[1]);
      parallel_ranges(rows(in[1]), 8, [&](long begin, long end) {
        for (long r = begin; r < end; r++) {
          const float* gate = x + r * 2 * n;
          lanes_of(n, [&](int i, int lanes) {
            vec g = get(gate + i, lanes);
            vec u = get(gate + n + i, lanes);
            vec d = get(dy + r * n + i, lanes);
            vec s = sigmoid(g);
            put(dx + r * 2 * n + i, d * u * s * (1.0f + g * (1.0f - s)), lanes);
            put(dx + r * 2 * n + n + i, d * g * s, lanes);
          });
        }
      });
    });
  }
};

class Swiglu : public FusedPrimitive {
 public:
  const char* name() const override { return "Swiglu"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    queue(outputs, inputs, [](auto& in, auto& out) {
      const float* x = in[0].template data<float>();
      float* y = out[0].template data<float>();
      int n = width(out[0]);
      parallel_ranges(rows(out[0]), 8, [&](long begin, long end) {
        for (long r = begin; r < end; r++) {
          const float* gate = x + r * 2 * n;
          lanes_of(n, [&](int i, int lanes) {
            vec g = get(gate + i, lanes);
            put(y + r * n + i, g * sigmoid(g) * get(gate + n + i, lanes), lanes);
          });
        }
      });
    });
  }

  std::vector<mx::array> vjp(const std::vector<mx::array>& primals, const std::vector<mx::array>& cotangents,
                             const std::vector<int>&, const std::vector<mx::array>&) override {
    return {mx::array(primals[0].shape(), mx::float32, std::make_shared<SwigluGrad>(),
                      {primals[0], dense(cotangents[0])})};
  }
};

}  // namespace

mx::array swiglu(const mx::array& gate_up) {
  require(gate_up.ndim() == 2 && width(gate_up) % 2 == 0, "swiglu: expects (rows, 2n)");
  return mx::array({gate_up.shape(0), width(gate_up) / 2}, mx::float32, std::make_shared<Swiglu>(), {dense(gate_up)});
}

}  // namespace shadow
