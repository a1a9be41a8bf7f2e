// The decoder's plan as JavaScript describes it (`DecoderPlanSpec` in addon.ts), and its steps.
#include "binding.h"
#include "decoder-plan.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace shadow {
namespace {

const napi_type_tag kPlanTag = {0x5ad0a11ab1e0a003ULL, 0x8f1e2d3c4b5a697aULL};

bool is_nothing(const Napi::Value& value) { return value.IsUndefined() || value.IsNull(); }

/** The fields of one object of the description, by name. */
class Fields {
 public:
  explicit Fields(const Napi::Value& value) {
    if (!value.IsObject()) throw std::invalid_argument("expected an object");
    object_ = value.As<Napi::Object>();
  }

  Napi::Value value(const char* name) const { return object_.Get(name); }
  bool has(const char* name) const { return !is_nothing(value(name)); }
  Fields fields(const char* name) const { return Fields(value(name)); }

  double number(const char* name) const {
    auto found = value(name);
    if (!found.IsNumber()) throw std::invalid_argument(std::string(name) + " is no number");
    return found.As<Napi::Number>().DoubleValue();
  }
  int integer(const char* name) const { return static_cast<int>(number(name)); }
  float real(const char* name) const { return static_cast<float>(number(name)); }

  /** Evaluated and dense. */
  mx::array array(const char* name) const {
    auto& box = unwrap(value(name));
    if (!box.array) throw std::invalid_argument(std::string(name) + " was disposed");
    auto whole = *box.array;
    whole.eval();
    if (whole.flags().row_contiguous) return whole;
    auto copy = mx::contiguous(whole);
    copy.eval();
    return copy;
  }
  std::optional<mx::array> optional_array(const char* name) const {
    return has(name) ? std::optional(array(name)) : std::nullopt;
  }

  template <class Read>
  auto list(const char* name, Read read) const {
    auto found = value(name);
    if (!found.IsArray()) throw std::invalid_argument(std::string(name) + " is no list");
    auto items = found.As<Napi::Array>();
    std::vector<decltype(read(Fields(items.Get(0u))))> result;
    for (uint32_t i = 0; i < items.Length(); i++) result.push_back(read(Fields(items.Get(i))));
    return result;
  }

 private:
  Napi::Object object_;
};

PlannedNorm norm(const Fields& f) { return {f.array("weight"), f.real("offset"), f.real("eps")}; }

std::optional<PlannedNorm> optional_norm(const Fields& f, const char* name) {
  return f.has(name) ? std::optional(norm(f.fields(name))) : std::nullopt;
}

PlannedStack stack(const Fields& f) {
  auto layers = f.list("layers", [](const Fields& layer) {
    return PlannedStack::Layer{layer.integer("outputs"), layer.optional_array("a"), layer.optional_array("b"),
                               layer.real("scale")};
  });
  return {f.array("weight"), packing_of(f.value("packing")), std::move(layers), f.optional_array("gain")};
}

PlannedProjections projections(const Fields& f) { return {f.list("stacks", stack), f.optional_array("bias")}; }

PlannedBlock block(const Fields& f) {
  return {
      .input_norm = norm(f.fields("inputNorm")),
      .mlp_norm = norm(f.fields("mlpNorm")),
      .attended_norm = optional_norm(f, "attendedNorm"),
      .mlp_output_norm = optional_norm(f, "mlpOutputNorm"),
      .query_norm = optional_norm(f, "queryNorm"),
      .key_norm = optional_norm(f, "keyNorm"),
      .qkv = projections(f.fields("qkv")),
      .output = projections(f.fields("output")),
      .gate_up = projections(f.fields("gateUp")),
      .down = projections(f.fields("down")),
      .heads = {f.integer("queryHeads"), f.integer("keyHeads"), f.integer("headDim")},
      .scale = f.real("scale"),
      .window = f.integer("window"),
      .activation = activation_named(f.value("activation").ToString().Utf8Value()),
      .rotation = f.integer("rotation"),
  };
}

Napi::Value make_plan(const Args& a) {
  Fields f(a.value(0));
  auto* plan = new std::unique_ptr<DecoderPlan>(std::make_unique<DecoderPlan>(
      f.array("embedding"), packing_of(f.value("embeddingPacking")), f.real("embeddingScale"), f.list("blocks", block),
      norm(f.fields("norm")), f.array("head"), packing_of(f.value("headPacking"))));
  auto handle = Napi::External<std::unique_ptr<DecoderPlan>>::New(
      a.env(), plan, [](Napi::Env, std::unique_ptr<DecoderPlan>* held) { delete held; });
  handle.TypeTag(&kPlanTag);
  return handle;
}

std::unique_ptr<DecoderPlan>& plan_of(const Napi::Value& value) {
  if (value.IsExternal()) {
    auto handle = value.As<Napi::External<std::unique_ptr<DecoderPlan>>>();
    if (handle.CheckTypeTag(&kPlanTag) && *handle.Data()) return *handle.Data();
  }
  throw std::invalid_argument("expected a plan that was not disposed");
}

/** (plan, cache, ids, positions, slots, cosines, sines, draws) → logits (draws, vocabulary) */
Napi::Value step(const Args& a) {
  auto& plan = plan_of(a.value(0));
  auto cosines = a.arrays(5), sines = a.arrays(6);
  if (cosines.size() != sines.size()) throw std::invalid_argument("as many sines as cosines");
  std::vector<Angles> angles;
  for (size_t i = 0; i < cosines.size(); i++) {
    mx::eval({cosines[i], sines[i]});
    angles.push_back({cosines[i], sines[i]});
  }
  return wrap(a.env(), plan->step({a.integers(2), a.integers(3), a.integers(4)}, angles, *a.cache(1), a.integers(7)));
}

}  // namespace

void define_decoder(Napi::Object exports) {
  define(exports, "decoderPlan", make_plan);
  define(exports, "decoderStep", step);
  define(exports, "decoderPlanDispose", [](const Args& a) -> Napi::Value {
    plan_of(a.value(0)).reset();
    return a.env().Undefined();
  });
}

}  // namespace shadow
