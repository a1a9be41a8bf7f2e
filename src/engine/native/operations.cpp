// MLX's own operations, as many as the engine uses.
#include "mlx/ops.h"

#include "binding.h"
#include "mlx/random.h"

namespace shadow {
namespace {

using Unary = mx::array (*)(const mx::array&, mx::StreamOrDevice);
using Binary = mx::array (*)(const mx::array&, const mx::array&, mx::StreamOrDevice);

void unary(Napi::Object exports, const char* name, Unary f) {
  define(exports, name, [f](const Args& a) { return wrap(a.env(), f(a.array(0), {})); });
}

void binary(Napi::Object exports, const char* name, Binary f) {
  define(exports, name, [f](const Args& a) { return wrap(a.env(), f(a.array(0), a.array(1), {})); });
}

/** (x, axes, keepDims); no axes means all. */
template <class F>
void reduction(Napi::Object exports, const char* name, F f) {
  define(exports, name, [f](const Args& a) {
    auto axes = a.integers(1);
    if (axes.empty())
      for (int i = 0; i < static_cast<int>(a.array(0).ndim()); i++) axes.push_back(i);
    return wrap(a.env(), f(a.array(0), axes, a.boolean(2)));
  });
}

void define_random(Napi::Object exports) {
  define(exports, "randomKey", [](const Args& a) {
    return wrap(a.env(), mx::random::key(static_cast<uint64_t>(a.number(0))));
  });
  define(exports, "randomSplit", [](const Args& a) {
    auto [first, second] = mx::random::split(a.array(0));
    return wrap_all(a.env(), {first, second});
  });
  define(exports, "randomUniform", [](const Args& a) {
    return wrap(a.env(), mx::random::uniform(static_cast<float>(a.number(1)), static_cast<float>(a.number(2)), a.shape(3),
                                             mx::float32, a.array(0)));
  });
  define(exports, "randomNormal", [](const Args& a) {
    return wrap(a.env(), mx::random::normal(a.shape(1), mx::float32, 0.0f, 1.0f, a.array(0)));
  });
  define(exports, "randomBernoulli", [](const Args& a) {
    return wrap(a.env(), mx::random::bernoulli(mx::array(static_cast<float>(a.number(1))), a.shape(2), a.array(0)));
  });
}

void define_shapes(Napi::Object exports) {
  define(exports, "reshape", [](const Args& a) { return wrap(a.env(), mx::reshape(a.array(0), a.shape(1))); });
  define(exports, "transpose", [](const Args& a) { return wrap(a.env(), mx::transpose(a.array(0), a.integers(1))); });
  define(exports, "broadcastTo", [](const Args& a) { return wrap(a.env(), mx::broadcast_to(a.array(0), a.shape(1))); });
  define(exports, "slice", [](const Args& a) { return wrap(a.env(), mx::slice(a.array(0), a.shape(1), a.shape(2))); });
  define(exports, "concatenate", [](const Args& a) { return wrap(a.env(), mx::concatenate(a.arrays(0), a.integer(1))); });
  define(exports, "take", [](const Args& a) { return wrap(a.env(), mx::take(a.array(0), a.array(1), a.integer(2))); });
  define(exports, "takeAlongAxis", [](const Args& a) {
    return wrap(a.env(), mx::take_along_axis(a.array(0), a.array(1), a.integer(2)));
  });
  define(exports, "astype", [](const Args& a) { return wrap(a.env(), mx::astype(a.array(0), dtype_named(a.text(1)))); });
  define(exports, "contiguous", [](const Args& a) { return wrap(a.env(), mx::contiguous(a.array(0))); });
}

}  // namespace

void define_operations(Napi::Object exports) {
  binary(exports, "add", mx::add);
  binary(exports, "subtract", mx::subtract);
  binary(exports, "multiply", mx::multiply);
  binary(exports, "divide", mx::divide);
  binary(exports, "maximum", mx::maximum);
  binary(exports, "minimum", mx::minimum);
  binary(exports, "power", mx::power);
  binary(exports, "greater", mx::greater);
  binary(exports, "greaterEqual", mx::greater_equal);
  binary(exports, "less", mx::less);
  binary(exports, "equal", mx::equal);
  binary(exports, "matmul", mx::matmul);
  unary(exports, "negative", mx::negative);
  unary(exports, "exp", mx::exp);
  unary(exports, "log", mx::log);
  unary(exports, "sqrt", mx::sqrt);
  unary(exports, "rsqrt", mx::rsqrt);
  unary(exports, "square", mx::square);
  unary(exports, "abs", mx::abs);
  unary(exports, "sigmoid", mx::sigmoid);
  unary(exports, "tanh", mx::tanh);
  unary(exports, "sin", mx::sin);
  unary(exports, "cos", mx::cos);
  unary(exports, "stopGradient", mx::stop_gradient);
  reduction(exports, "sum", [](auto& x, auto& axes, bool keep) { return mx::sum(x, axes, keep); });
  reduction(exports, "mean", [](auto& x, auto& axes, bool keep) { return mx::mean(x, axes, keep); });
  reduction(exports, "max", [](auto& x, auto& axes, bool keep) { return mx::max(x, axes, keep); });
  reduction(exports, "logsumexp", [](auto& x, auto& axes, bool keep) { return mx::logsumexp(x, axes, keep); });
  reduction(exports, "softmax", [](auto& x, auto& axes, bool) { return mx::softmax(x, axes, true); });
  define(exports, "argmax", [](const Args& a) { return wrap(a.env(), mx::argmax(a.array(0), a.integer(1))); });
  define(exports, "where", [](const Args& a) { return wrap(a.env(), mx::where(a.array(0), a.array(1), a.array(2))); });
  define_shapes(exports);
  define_random(exports);
}

}  // namespace shadow
