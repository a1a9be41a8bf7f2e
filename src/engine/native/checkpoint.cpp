// Gradient checkpointing: forget what lies between a section's inputs and its output, and compute it again for the
// derivative. MLX's own `checkpoint` takes a function and differentiates every argument of it; here the graph itself
// is the function. Its primitives are run a second time on the inputs, so frozen weights, indices and random keys are
// the very same, dropout drops the same elements, and values repeat bit for bit.
#include <unordered_map>
#include <unordered_set>

#include "fused.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace shadow {
namespace {

/** What no input reaches is kept up to this size: random keys, whose chain would be as long as the model is deep. */
constexpr size_t kKeptBytes = 64;

/** By the id of the first computation, which is held elsewhere meanwhile. */
using Recomputed = std::unordered_map<std::uintptr_t, mx::array>;

/** x computed again, from what `made` holds in the inputs' place; all that is made on the way is put there too. */
mx::array compute_again(const mx::array& x, Recomputed& made) {
  if (auto known = made.find(x.id()); known != made.end()) return known->second;
  if (!x.has_primitive()) return x;
  bool changed = false;
  std::vector<mx::array> inputs;
  for (auto& input : x.inputs()) {
    inputs.push_back(compute_again(input, made));
    changed = changed || inputs.back().id() != input.id();
  }
  auto first = x.outputs();
  std::vector<mx::Shape> shapes;
  std::vector<mx::Dtype> dtypes;
  size_t bytes = 0;
  for (auto& output : first) {
    shapes.push_back(output.shape());
    dtypes.push_back(output.dtype());
    bytes += output.nbytes();
  }
  auto again = changed || bytes > kKeptBytes ? mx::array::make_arrays(shapes, dtypes, x.primitive_ptr(), inputs) : first;
  for (size_t i = 0; i < first.size(); i++) made.emplace(first[i].id(), again[i]);
  return made.at(x.id());
}

/** Puts the ids of all that x was computed from into `seen`, going no further than `inputs`. */
void collect(const mx::array& x, const std::unordered_set<std::uintptr_t>& inputs,
             std::unordered_set<std::uintptr_t>& seen) {
  if (!seen.insert(x.id()).second || inputs.contains(x.id())) return;
  for (auto& input : x.inputs()) collect(input, inputs, seen);
}

}  // namespace

mx::array checkpoint(const mx::array& output, const std::vector<mx::array>& inputs) {
  std::unordered_set<std::uintptr_t> ends, seen;
  for (auto& input : inputs) ends.insert(input.id());
  collect(output, ends, seen);
  // Those that nothing is differentiated by stay as they are: the first block's x, when the embedding is frozen.
  std::vector<mx::array> constants, differentiated;
  for (auto& input : inputs)
    if (seen.contains(input.id())) (input.is_tracer() ? differentiated : constants).push_back(input);
  if (differentiated.empty()) return output;
  auto derivative = [output, constants, differentiated](const std::vector<mx::array>& primals,
                                                        const std::vector<mx::array>& cotangents,
                                                        const std::vector<mx::array>&) {
    auto recompute = [&](const std::vector<mx::array>& arguments) {
      Recomputed made;
      for (auto& constant : constants) made.emplace(constant.id(), constant);
      for (size_t i = 0; i < arguments.size(); i++) made.emplace(differentiated[i].id(), arguments[i]);
      return std::vector<mx::array>{compute_again(output, made)};
    };
    // Not before the section's own derivative is due, and the gradients all at once: what one of them still waited for
    // would stay in memory until the end.
    auto [values, gradients] = mx::vjp(recompute, mx::depends(primals, cotangents), cotangents);
    return mx::depends(gradients, {});
  };
  auto section = mx::custom_vjp([&](const std::vector<mx::array>&) { return std::vector<mx::array>{output}; }, derivative);
  return section(differentiated)[0];
}

}  // namespace shadow
