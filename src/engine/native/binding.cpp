#include "binding.h"

#include <new>
#include <stdexcept>

namespace shadow {
namespace {

const napi_type_tag kArrayTag = {0x5ad0a11ab1e0a001ULL, 0x8f1e2d3c4b5a6978ULL};
const napi_type_tag kCacheTag = {0x5ad0a11ab1e0a002ULL, 0x8f1e2d3c4b5a6979ULL};

Napi::Error failure(Napi::Env env, const char* code, const std::string& message) {
  auto error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  return error;
}

bool is_nothing(const Napi::Value& value) { return value.IsUndefined() || value.IsNull(); }

}  // namespace

void define(Napi::Object exports, const char* name, Operation operation) {
  auto call = [name = std::string(name), operation = std::move(operation)](const Napi::CallbackInfo& info) -> Napi::Value {
    try {
      return operation(Args(info));
    } catch (const Napi::Error&) {
      throw;
    } catch (const std::bad_alloc&) {
      throw failure(info.Env(), "out_of_memory", name + ": out of memory");
    } catch (const std::exception& thrown) {
      const std::string what = thrown.what();
      const bool memory = what.find("allocat") != std::string::npos;
      throw failure(info.Env(), memory ? "out_of_memory" : "engine_failed", name + ": " + what);
    }
  };
  exports.Set(name, Napi::Function::New(exports.Env(), call, name));
}

Napi::Value wrap(Napi::Env env, mx::array array) {
  auto box = std::make_unique<ArrayBox>();
  box->array = std::move(array);
  auto handle = Napi::External<ArrayBox>::New(env, box.release(), [](Napi::Env env, ArrayBox* box) {
    if (box->reported != 0) Napi::MemoryManagement::AdjustExternalMemory(env, -box->reported);
    delete box;
  });
  handle.TypeTag(&kArrayTag);
  return handle;
}

Napi::Value wrap_all(Napi::Env env, std::vector<mx::array> arrays) {
  auto list = Napi::Array::New(env, arrays.size());
  for (size_t i = 0; i < arrays.size(); i++) list.Set(static_cast<uint32_t>(i), wrap(env, std::move(arrays[i])));
  return list;
}

ArrayBox& unwrap(const Napi::Value& value) {
  if (!value.IsExternal()) throw std::invalid_argument("expected an array handle");
  auto handle = value.As<Napi::External<ArrayBox>>();
  if (!handle.CheckTypeTag(&kArrayTag)) throw std::invalid_argument("expected an array handle");
  return *handle.Data();
}

mx::Dtype dtype_named(const std::string& name) {
  if (name == "float32") return mx::float32;
  if (name == "int32") return mx::int32;
  if (name == "uint32") return mx::uint32;
  if (name == "bool") return mx::bool_;
  if (name == "float16") return mx::float16;
  if (name == "bfloat16") return mx::bfloat16;
  throw std::invalid_argument("unknown dtype " + name);
}

const mx::array& Args::array(size_t i) const {
  auto& box = unwrap(info_[i]);
  if (!box.array) throw std::invalid_argument("the tensor was disposed");
  return *box.array;
}

std::optional<mx::array> Args::optional_array(size_t i) const {
  if (is_nothing(info_[i])) return std::nullopt;
  return array(i);
}

std::vector<std::optional<mx::array>> Args::optional_arrays(size_t i) const {
  if (!info_[i].IsArray()) throw std::invalid_argument("expected a list of array handles");
  auto list = info_[i].As<Napi::Array>();
  std::vector<std::optional<mx::array>> result;
  for (uint32_t j = 0; j < list.Length(); j++) {
    Napi::Value item = list.Get(j);
    if (is_nothing(item)) {
      result.push_back(std::nullopt);
      continue;
    }
    auto& box = unwrap(item);
    if (!box.array) throw std::invalid_argument("the tensor was disposed");
    result.push_back(*box.array);
  }
  return result;
}

std::vector<mx::array> Args::arrays(size_t i) const {
  std::vector<mx::array> result;
  for (auto& item : optional_arrays(i)) {
    if (!item) throw std::invalid_argument("expected an array handle");
    result.push_back(std::move(*item));
  }
  return result;
}

double Args::number(size_t i) const {
  if (!info_[i].IsNumber()) throw std::invalid_argument("expected a number");
  return info_[i].As<Napi::Number>().DoubleValue();
}

bool Args::boolean(size_t i) const {
  if (!info_[i].IsBoolean()) throw std::invalid_argument("expected a boolean");
  return info_[i].As<Napi::Boolean>().Value();
}

std::string Args::text(size_t i) const {
  if (!info_[i].IsString()) throw std::invalid_argument("expected a string");
  return info_[i].As<Napi::String>().Utf8Value();
}

std::vector<int> Args::integers(size_t i) const {
  if (info_[i].IsTypedArray() && info_[i].As<Napi::TypedArray>().TypedArrayType() == napi_int32_array) {
    auto view = info_[i].As<Napi::Int32Array>();
    return std::vector<int>(view.Data(), view.Data() + view.ElementLength());
  }
  if (!info_[i].IsArray()) throw std::invalid_argument("expected a list of integers");
  auto list = info_[i].As<Napi::Array>();
  std::vector<int> result;
  for (uint32_t j = 0; j < list.Length(); j++) {
    Napi::Value item = list.Get(j);
    if (!item.IsNumber()) throw std::invalid_argument("expected a list of integers");
    result.push_back(item.As<Napi::Number>().Int32Value());
  }
  return result;
}

mx::Shape Args::shape(size_t i) const {
  auto sizes = integers(i);
  return mx::Shape(sizes.begin(), sizes.end());
}

std::shared_ptr<KvCache> Args::cache(size_t i) const {
  if (info_[i].IsExternal()) {
    auto handle = info_[i].As<Napi::External<std::shared_ptr<KvCache>>>();
    if (handle.CheckTypeTag(&kCacheTag) && *handle.Data()) return *handle.Data();
  }
  throw std::invalid_argument("expected a cache that was not disposed");
}

void define_cache(Napi::Object exports) {
  define(exports, "kvCache", [](const Args& a) -> Napi::Value {
    auto* cache = new std::shared_ptr<KvCache>(
        std::make_shared<KvCache>(a.integer(0), a.integer(1), a.integer(2), a.integer(3), a.integer(4)));
    auto handle = Napi::External<std::shared_ptr<KvCache>>::New(
        a.env(), cache, [](Napi::Env, std::shared_ptr<KvCache>* held) { delete held; });
    handle.TypeTag(&kCacheTag);
    return handle;
  });
  define(exports, "kvCacheCopyPrefix", [](const Args& a) -> Napi::Value {
    a.cache(0)->copy_prefix(a.integer(1), a.integer(2), a.integer(3));
    return a.env().Undefined();
  });
  define(exports, "kvCacheDispose", [](const Args& a) -> Napi::Value {
    a.cache(0);
    a.value(0).As<Napi::External<std::shared_ptr<KvCache>>>().Data()->reset();
    return a.env().Undefined();
  });
}

}  // namespace shadow

namespace {

Napi::Object initialise(Napi::Env, Napi::Object exports) {
  shadow::define_arrays(exports);
  shadow::define_operations(exports);
  shadow::define_fused(exports);
  shadow::define_transforms(exports);
  shadow::define_runtime(exports);
  shadow::define_cache(exports);
  shadow::define_packing(exports);
  shadow::define_moments(exports);
  shadow::define_decoder(exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(shadow_engine, initialise)
