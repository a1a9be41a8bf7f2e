// Making arrays from JavaScript memory, reading them back, and freeing them.
#include <cstring>

#include "allocate.h"
#include "binding.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace shadow {
namespace {

size_t elements(const mx::Shape& shape) {
  size_t n = 1;
  for (auto size : shape) {
    if (size < 0) throw std::invalid_argument("a shape has no negative sizes");
    n *= static_cast<size_t>(size);
  }
  return n;
}

/** Copies JavaScript memory into a new array. */
template <class T>
mx::array copy_in(const T* data, size_t count, mx::Shape shape, mx::Dtype dtype) {
  if (elements(shape) != count) throw std::invalid_argument("the data's length differs from the shape's");
  auto buffer = allocate(count * sizeof(T));
  std::memcpy(buffer.buffer().raw_ptr(), data, count * sizeof(T));
  return mx::array(std::move(buffer), std::move(shape), dtype);
}

/** Evaluates x as dtype and makes it dense. */
mx::array readable(const mx::array& x, mx::Dtype dtype) {
  auto y = mx::contiguous(x.dtype() == dtype ? x : mx::astype(x, dtype));
  y.eval();
  return y;
}

std::string dtype_name(const mx::array& x) {
  switch (x.dtype().val()) {
    case mx::Dtype::Val::float32: return "float32";
    case mx::Dtype::Val::int32: return "int32";
    case mx::Dtype::Val::uint32: return "uint32";
    case mx::Dtype::Val::bool_: return "bool";
    case mx::Dtype::Val::float16: return "float16";
    case mx::Dtype::Val::bfloat16: return "bfloat16";
    default: return "other";
  }
}

}  // namespace

void define_arrays(Napi::Object exports) {
  define(exports, "fromFloat32", [](const Args& a) {
    if (!a.value(0).IsTypedArray() || a.value(0).As<Napi::TypedArray>().TypedArrayType() != napi_float32_array)
      throw std::invalid_argument("expected a Float32Array");
    auto view = a.value(0).As<Napi::Float32Array>();
    return wrap(a.env(), copy_in(view.Data(), view.ElementLength(), a.shape(1), mx::float32));
  });
  define(exports, "fromInt32", [](const Args& a) {
    auto values = a.integers(0);
    return wrap(a.env(), copy_in(values.data(), values.size(), a.shape(1), mx::int32));
  });
  define(exports, "full", [](const Args& a) {
    return wrap(a.env(), mx::full(a.shape(0), mx::array(static_cast<float>(a.number(1))), dtype_named(a.text(2))));
  });
  define(exports, "toFloat32", [](const Args& a) -> Napi::Value {
    auto x = readable(a.array(0), mx::float32);
    auto out = Napi::Float32Array::New(a.env(), x.size());
    std::memcpy(out.Data(), x.data<float>(), x.nbytes());
    return out;
  });
  define(exports, "toInt32", [](const Args& a) -> Napi::Value {
    auto x = readable(a.array(0), mx::int32);
    auto out = Napi::Int32Array::New(a.env(), x.size());
    std::memcpy(out.Data(), x.data<int32_t>(), x.nbytes());
    return out;
  });
  define(exports, "shape", [](const Args& a) -> Napi::Value {
    const auto& shape = a.array(0).shape();
    auto out = Napi::Array::New(a.env(), shape.size());
    for (size_t i = 0; i < shape.size(); i++)
      out.Set(static_cast<uint32_t>(i), Napi::Number::New(a.env(), shape[i]));
    return out;
  });
  define(exports, "dtype", [](const Args& a) -> Napi::Value { return Napi::String::New(a.env(), dtype_name(a.array(0))); });
  define(exports, "reportMemory", [](const Args& a) -> Napi::Value {
    auto& box = unwrap(a.value(0));
    if (!box.array || box.reported != 0) return a.env().Undefined();
    box.reported = static_cast<int64_t>(box.array->nbytes());
    Napi::MemoryManagement::AdjustExternalMemory(a.env(), box.reported);
    return a.env().Undefined();
  });
  define(exports, "dispose", [](const Args& a) -> Napi::Value {
    auto& box = unwrap(a.value(0));
    if (box.reported != 0) Napi::MemoryManagement::AdjustExternalMemory(a.env(), -box.reported);
    box.reported = 0;
    box.array.reset();
    return a.env().Undefined();
  });
}

}  // namespace shadow
