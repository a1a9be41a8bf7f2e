// 8-bit moments live in JavaScript's own buffers, which are changed in place.
#include "adamw8.h"
#include "binding.h"

namespace shadow {
namespace {

template <typename T>
T typed(const Napi::Value& value, napi_typedarray_type type) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type)
    throw std::invalid_argument("moments are a Uint8Array of codes and a Float32Array of scales");
  return value.As<T>();
}

PackedMoments moments(const Napi::Value& codes_value, const Napi::Value& scales_value) {
  auto codes = typed<Napi::Uint8Array>(codes_value, napi_uint8_array);
  auto scales = typed<Napi::Float32Array>(scales_value, napi_float32_array);
  if (scales.ElementLength() != (codes.ElementLength() + kMomentBlock - 1) / kMomentBlock)
    throw std::invalid_argument("moments have one scale for each block of codes");
  return {codes.Data(), scales.Data(), codes.ElementLength()};
}

std::vector<PackedMoments> all_moments(const Args& a, size_t codes_at, size_t scales_at) {
  if (!a.value(codes_at).IsArray() || !a.value(scales_at).IsArray()) throw std::invalid_argument("expected lists of moments");
  auto codes = a.value(codes_at).As<Napi::Array>(), scales = a.value(scales_at).As<Napi::Array>();
  if (codes.Length() != scales.Length()) throw std::invalid_argument("as many scales as codes");
  std::vector<PackedMoments> result;
  for (uint32_t i = 0; i < codes.Length(); i++) result.push_back(moments(codes.Get(i), scales.Get(i)));
  return result;
}

Napi::Value take_step(const Args& a) {
  auto parameters = a.arrays(0), gradients = a.arrays(1);
  AdamW options{a.number(6), a.number(7), a.number(8), a.number(9), a.number(10), a.integer(11)};
  adamw8(parameters, gradients, all_moments(a, 2, 3), all_moments(a, 4, 5), options, static_cast<float>(a.number(12)));
  return a.env().Undefined();
}

/** (values, codes, scales, signed) */
Napi::Value pack_values(const Args& a) {
  auto values = typed<Napi::Float32Array>(a.value(0), napi_float32_array);
  auto into = moments(a.value(1), a.value(2));
  if (values.ElementLength() != into.size) throw std::invalid_argument("one code for each value");
  pack_moments(values.Data(), into, a.boolean(3));
  return a.env().Undefined();
}

/** (codes, scales, signed) → values */
Napi::Value unpack_values(const Args& a) {
  auto from = moments(a.value(0), a.value(1));
  auto values = Napi::Float32Array::New(a.env(), from.size);
  unpack_moments(from, values.Data(), a.boolean(2));
  return values;
}

}  // namespace

void define_moments(Napi::Object exports) {
  define(exports, "adamw8", take_step);
  define(exports, "packMoments", pack_values);
  define(exports, "unpackMoments", unpack_values);
}

}  // namespace shadow
