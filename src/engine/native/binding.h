// How C++ functions become JavaScript functions. Every failure leaves through one place, as a JavaScript
// Error whose `code` is `out_of_memory` or `engine_failed`.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fused.h"
#include "mlx/array.h"

namespace shadow {

/** What a JavaScript handle of an array points to. Disposing empties it before the collector comes. */
struct ArrayBox {
  std::optional<mx::array> array;
  int64_t reported = 0;  // bytes told to the garbage collector
};

/** The arguments of one call, read in the types that the operations want; throws std::invalid_argument. */
class Args {
 public:
  explicit Args(const Napi::CallbackInfo& info) : info_(info) {}

  Napi::Env env() const { return info_.Env(); }
  size_t count() const { return info_.Length(); }
  const mx::array& array(size_t i) const;
  std::optional<mx::array> optional_array(size_t i) const;
  std::vector<mx::array> arrays(size_t i) const;
  std::vector<std::optional<mx::array>> optional_arrays(size_t i) const;
  double number(size_t i) const;
  int integer(size_t i) const { return static_cast<int>(number(i)); }
  bool boolean(size_t i) const;
  std::string text(size_t i) const;
  std::vector<int> integers(size_t i) const;
  mx::Shape shape(size_t i) const;
  std::shared_ptr<KvCache> cache(size_t i) const;
  Napi::Value value(size_t i) const { return info_[i]; }

 private:
  const Napi::CallbackInfo& info_;
};

using Operation = std::function<Napi::Value(const Args&)>;

/** Adds a function to the module's exports. */
void define(Napi::Object exports, const char* name, Operation operation);

Napi::Value wrap(Napi::Env env, mx::array array);
Napi::Value wrap_all(Napi::Env env, std::vector<mx::array> arrays);
ArrayBox& unwrap(const Napi::Value& value);
mx::Dtype dtype_named(const std::string& name);
/** Null for a dense matrix, or { bits, groupSize, scales }. */
Packing packing_of(const Napi::Value& value);
Activation activation_named(const std::string& name);

void define_arrays(Napi::Object exports);
void define_operations(Napi::Object exports);
void define_fused(Napi::Object exports);
void define_transforms(Napi::Object exports);
void define_runtime(Napi::Object exports);
void define_cache(Napi::Object exports);
void define_packing(Napi::Object exports);
void define_moments(Napi::Object exports);
void define_decoder(Napi::Object exports);

}  // namespace shadow
