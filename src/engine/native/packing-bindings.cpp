// Packed weights as JavaScript makes and reads them.
#include <cstring>

#include "allocate.h"
#include "binding.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace shadow {
namespace {

/** (bytes, shape, dtype) → an array with a copy of them, little-endian. */
Napi::Value from_bytes(const Args& a) {
  if (!a.value(0).IsTypedArray() || a.value(0).As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
    throw std::invalid_argument("expected a Uint8Array");
  auto view = a.value(0).As<Napi::Uint8Array>();
  auto shape = a.shape(1);
  auto dtype = dtype_named(a.text(2));
  size_t bytes = dtype.size();
  for (auto size : shape) {
    if (size < 0) throw std::invalid_argument("a shape has no negative sizes");
    bytes *= static_cast<size_t>(size);
  }
  if (bytes != view.ElementLength()) throw std::invalid_argument("the data's length differs from the shape's");
  auto buffer = allocate(bytes);
  std::memcpy(buffer.buffer().raw_ptr(), view.Data(), bytes);
  return wrap(a.env(), mx::array(std::move(buffer), std::move(shape), dtype));
}

}  // namespace

Packing packing_of(const Napi::Value& value) {
  if (value.IsNull() || value.IsUndefined()) return {};
  if (!value.IsObject()) throw std::invalid_argument("expected a packing");
  auto object = value.As<Napi::Object>();
  Napi::Value bits = object.Get("bits"), group = object.Get("groupSize"), scales = object.Get("scales");
  if (!bits.IsNumber() || !group.IsNumber() || !scales.IsString())
    throw std::invalid_argument("a packing has bits, groupSize and scales");
  Napi::Value products = object.Get("products");
  return {bits.As<Napi::Number>().Int32Value(), group.As<Napi::Number>().Int32Value(),
          dtype_named(scales.As<Napi::String>().Utf8Value()),
          products.IsString() && products.As<Napi::String>().Utf8Value() == "bfloat16"};
}

void define_packing(Napi::Object exports) {
  define(exports, "fromBytes", from_bytes);
  define(exports, "unpack", [](const Args& a) { return wrap(a.env(), unpacked(a.array(0), packing_of(a.value(1)))); });
  define(exports, "takeRows", [](const Args& a) {
    return wrap(a.env(), take_rows(a.array(0), a.array(1), packing_of(a.value(2))));
  });
  define(exports, "toPanels", [](const Args& a) { return wrap(a.env(), to_panels(a.array(0), packing_of(a.value(1)))); });
  define(exports, "packAffine", [](const Args& a) {
    return wrap(a.env(), pack(a.array(0), a.array(1), a.array(2), a.integer(3), a.integer(4)));
  });
  define(exports, "packBfloat16", [](const Args& a) { return wrap(a.env(), pack_bf16(a.array(0))); });
  define(exports, "quantize", [](const Args& a) -> Napi::Value {
    auto parts = mx::quantize(a.array(0), a.integer(2), a.integer(1));
    mx::eval(parts);
    return wrap_all(a.env(), std::move(parts));
  });
}

}  // namespace shadow
