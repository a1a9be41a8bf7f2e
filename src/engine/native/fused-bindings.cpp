// The fused operations and the optimizer's arithmetic, as JavaScript functions.
#include "binding.h"
#include "mlx/ops.h"
#include "parallel.h"
#include "sample-rows.h"

namespace shadow {
namespace {

Heads heads_of(const Args& a, size_t first) { return {a.integer(first), a.integer(first + 1), a.integer(first + 2)}; }

Napi::Value lora(const Args& a) {
  auto a_factors = a.optional_arrays(3);
  auto b_factors = a.optional_arrays(4);
  if (a_factors.size() != b_factors.size()) throw std::invalid_argument("as many A factors as B factors");
  std::vector<LoraFactors> factors;
  for (size_t i = 0; i < a_factors.size(); i++) factors.push_back({a_factors[i], b_factors[i]});
  return wrap(a.env(), lora_linear(a.array(0), a.array(1), a.integers(2), factors, static_cast<float>(a.number(5)),
                                   a.optional_array(6), a.boolean(7), packing_of(a.value(8))));
}

Napi::Value optimizer_step(const Args& a) {
  auto parameters = a.arrays(0), gradients = a.arrays(1), first = a.arrays(2), second = a.arrays(3);
  AdamW options{a.number(4), a.number(5), a.number(6), a.number(7), a.number(8), a.integer(9)};
  adamw(parameters, gradients, first, second, options, static_cast<float>(a.number(10)));
  return a.env().Undefined();
}

/** (logits, temperatures, topPs, uniforms) → [token ids, log-probabilities], one for each row. */
Napi::Value sample(const Args& a) {
  auto logits = mx::contiguous(a.array(0));
  logits.eval();
  if (logits.ndim() != 2 || logits.dtype() != mx::float32) throw std::invalid_argument("logits are (rows, vocabulary) float32");
  const int n = logits.shape(0), vocabulary = logits.shape(1);
  auto numbers = [&](size_t i) {
    if (!a.value(i).IsTypedArray() || a.value(i).As<Napi::TypedArray>().TypedArrayType() != napi_float64_array)
      throw std::invalid_argument("expected a Float64Array");
    auto view = a.value(i).As<Napi::Float64Array>();
    if (static_cast<int>(view.ElementLength()) != n) throw std::invalid_argument("one setting for each row");
    return view;
  };
  auto temperatures = numbers(1), top_ps = numbers(2), uniforms = numbers(3);
  const double *temperature = temperatures.Data(), *top_p = top_ps.Data(), *uniform = uniforms.Data();
  auto tokens = Napi::Int32Array::New(a.env(), n);
  auto log_probabilities = Napi::Float32Array::New(a.env(), n);
  int* token = tokens.Data();
  float* log_probability = log_probabilities.Data();
  parallel_for(n, [&](int row) {
    auto choice = sample_row(logits.data<float>() + (size_t)row * vocabulary, vocabulary,
                             static_cast<float>(temperature[row]), static_cast<float>(top_p[row]), uniform[row]);
    token[row] = choice.token;
    log_probability[row] = choice.log_probability;
  });
  auto result = Napi::Array::New(a.env(), 2);
  result.Set(0u, tokens);
  result.Set(1u, log_probabilities);
  return result;
}

}  // namespace

Activation activation_named(const std::string& name) {
  if (name == "silu") return Activation::silu;
  if (name == "gelu_tanh") return Activation::gelu_tanh;
  throw std::invalid_argument("unknown activation " + name);
}

void define_fused(Napi::Object exports) {
  define(exports, "rmsNorm", [](const Args& a) {
    return wrap(a.env(), rms_norm(a.array(0), a.array(1), static_cast<float>(a.number(2))));
  });
  define(exports, "embedding", [](const Args& a) { return wrap(a.env(), embedding(a.array(0), a.array(1))); });
  define(exports, "gatedActivation", [](const Args& a) {
    return wrap(a.env(), gated_activation(a.array(0), activation_named(a.text(1))));
  });
  define(exports, "rope", [](const Args& a) {
    return wrap(a.env(), rope(a.array(0), a.array(1), a.array(2), a.integer(3), a.integer(4)));
  });
  define(exports, "attention", [](const Args& a) {
    return wrap(a.env(), attention(a.array(0), a.integers(1), a.integers(2), heads_of(a, 3),
                                   static_cast<float>(a.number(6)), a.integer(7)));
  });
  define(exports, "loraLinear", lora);
  define(exports, "linearCrossEntropy", [](const Args& a) {
    return wrap(a.env(), linear_cross_entropy(a.array(0), a.array(1), a.array(2), a.array(3), a.boolean(4),
                                               packing_of(a.value(5))));
  });
  define(exports, "sampleRows", sample);
  define(exports, "adamw", optimizer_step);
  define(exports, "globalNorm", [](const Args& a) -> Napi::Value {
    return Napi::Number::New(a.env(), global_norm(a.arrays(0)));
  });
  define(exports, "copyInPlace", [](const Args& a) -> Napi::Value {
    auto into = a.arrays(0);
    copy_in_place(into, a.arrays(1));
    return a.env().Undefined();
  });
  define(exports, "addInPlace", [](const Args& a) -> Napi::Value {
    auto into = a.arrays(0);
    add_in_place(into, a.arrays(1));
    return a.env().Undefined();
  });
}

}  // namespace shadow
