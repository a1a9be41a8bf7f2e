// Evaluation, derivatives, memory and threads.
#include "mlx/transforms.h"

#include <optional>

#include "bf16-gemm.h"
#include "binding.h"
#include "blas.h"
#include "mlx/compile.h"
#include "mlx/memory.h"
#include "parallel.h"
#include "primitive.h"

namespace shadow {
namespace {

/** Calls the JavaScript loss: (arrays) → [loss, ...auxiliary]. */
std::vector<mx::array> call_loss(const Napi::Function& loss, Napi::Env env, const std::vector<mx::array>& inputs) {
  Napi::Value returned = loss.Call({wrap_all(env, inputs)});
  if (!returned.IsArray()) throw std::invalid_argument("the loss must return a list of tensors");
  auto list = returned.As<Napi::Array>();
  std::vector<mx::array> outputs;
  for (uint32_t i = 0; i < list.Length(); i++) {
    auto& box = unwrap(list.Get(i));
    if (!box.array) throw std::invalid_argument("the loss returned a disposed tensor");
    outputs.push_back(*box.array);
  }
  if (outputs.empty() || outputs[0].size() != 1) throw std::invalid_argument("the loss must be a scalar");
  return outputs;
}

/** (loss, parameters) → [values, gradients]; only the first value is differentiated. */
Napi::Value value_and_gradient(const Args& a) {
  auto env = a.env();
  if (!a.value(0).IsFunction()) throw std::invalid_argument("expected a loss function");
  auto loss = a.value(0).As<Napi::Function>();
  auto parameters = a.arrays(1);
  std::vector<int> all(parameters.size());
  for (size_t i = 0; i < all.size(); i++) all[i] = static_cast<int>(i);
  auto [values, gradients] = mx::value_and_grad(
      [&](const std::vector<mx::array>& inputs) { return call_loss(loss, env, inputs); }, all)(parameters);
  auto result = Napi::Array::New(env, 2);
  result.Set(0u, wrap_all(env, std::move(values)));
  result.Set(1u, wrap_all(env, std::move(gradients)));
  return result;
}

/** (arrays, sparing) */
Napi::Value evaluate(const Args& a) {
  auto arrays = a.arrays(0);
  std::optional<ShortQueue> sparing;
  if (a.boolean(1)) sparing.emplace();
  mx::eval(std::move(arrays));
  return a.env().Undefined();
}

}  // namespace

void define_transforms(Napi::Object exports) {
  define(exports, "evaluate", evaluate);
  define(exports, "valueAndGrad", value_and_gradient);
  define(exports, "checkpoint", [](const Args& a) { return wrap(a.env(), checkpoint(a.array(0), a.arrays(1))); });
}

void define_runtime(Napi::Object exports) {
  // Compiled graphs call a C++ compiler at run time on the CPU, and are slower than the plain ones.
  mx::disable_compile();
  set_thread_count(1);

  define(exports, "threads", [](const Args& a) -> Napi::Value { return Napi::Number::New(a.env(), thread_count()); });
  define(exports, "setThreads", [](const Args& a) -> Napi::Value {
    set_thread_count(a.integer(0));
    return a.env().Undefined();
  });
  define(exports, "blas", [](const Args& a) -> Napi::Value {
    return Napi::String::New(a.env(), std::string(scipy_openblas_get_config()) + " core " + scipy_openblas_get_corename());
  });
  define(exports, "instructions", [](const Args& a) -> Napi::Value {
#if defined(SHADOW_WIDE_LANES)
    std::string name = "wide";
#elif defined(__AVX512F__)
    std::string name = "avx512";
#elif defined(__AVX2__)
    std::string name = "avx2";
#elif defined(__aarch64__)
    std::string name = "neon";
#else
    std::string name = "portable";
#endif
    return Napi::String::New(a.env(), has_bf16_products() ? name + "-bf16" : name);
  });
  define(exports, "memory", [](const Args& a) -> Napi::Value {
    auto out = Napi::Object::New(a.env());
    out.Set("activeBytes", Napi::Number::New(a.env(), static_cast<double>(mx::get_active_memory())));
    out.Set("peakBytes", Napi::Number::New(a.env(), static_cast<double>(mx::get_peak_memory())));
    out.Set("cacheBytes", Napi::Number::New(a.env(), static_cast<double>(mx::get_cache_memory())));
    return out;
  });
  define(exports, "resetPeakMemory", [](const Args& a) -> Napi::Value {
    mx::reset_peak_memory();
    return a.env().Undefined();
  });
  define(exports, "setCacheLimit", [](const Args& a) -> Napi::Value {
    mx::set_cache_limit(static_cast<size_t>(a.number(0)));
    return a.env().Undefined();
  });
  define(exports, "clearCache", [](const Args& a) -> Napi::Value {
    mx::clear_cache();
    return a.env().Undefined();
  });
}

}  // namespace shadow
