#include "decoder-plan.h"

#include <algorithm>
#include <cstring>

#include "allocate.h"
#include "exact-linear.h"
#include "parallel.h"
#include "primitive.h"
#include "row-kernels.h"
#include "row-panels.h"

namespace shadow {
namespace {

/** Waking another thread costs more than a few thousand elements. */
constexpr int kGrain = 8192;

/** Calls body(row) for each row, on several threads where there is enough to do. */
template <class Body>
void each_row(int rows, int columns, Body body) {
  parallel_ranges(rows, std::max(1, kGrain / columns), [&](long begin, long end) {
    for (long r = begin; r < end; r++) body(r);
  });
}

void normalise(const PlannedNorm& norm, int rows, const float* x, float* y) {
  const int d = width(norm.weight);
  const float* w = norm.weight.data<float>();
  each_row(rows, d, [&](long r) { rms_norm_row(x + r * d, w, norm.offset, norm.eps, d, y + r * d); });
}

/** y += scale · (x·Aᵀ)·Bᵀ for each adapted layer of the stack. */
void add_low_rank(const PlannedStack& stack, int rows, const float* x, float* y, long ldy) {
  std::vector<float> low;
  int column = 0;
  for (const auto& layer : stack.layers) {
    if (layer.a) {
      const int r = layer.a->shape(0);
      low.resize((size_t)rows * r);
      exact_linear(rows, r, width(*layer.a), x, layer.a->data<float>(), low.data(), r, false);
      for (auto& value : low) value *= layer.scale;
      exact_linear(rows, layer.outputs, r, low.data(), layer.b->data<float>(), y + column, ldy, true);
    }
    column += layer.outputs;
  }
}

/** y (rows, Σ outputs) = x · Wᵀ with all that an adapter changes, or y += where `accumulate`. */
void project(const PlannedProjections& projections, int rows, const float* x, float* y, bool accumulate) {
  const long ldy = projections.outputs();
  int column = 0;
  std::vector<float> apart;
  for (const auto& stack : projections.stacks) {
    const int n = stack.outputs();
    const FrozenMatrix w = frozen_matrix(stack.weight, stack.packing);
    if (stack.gain) {
      apart.resize((size_t)rows * n);
      exact_linear(w, rows, x, apart.data(), n, false);
      add_low_rank(stack, rows, x, apart.data(), n);
      const float* gain = stack.gain->data<float>();
      each_row(rows, n, [&](long r) {
        float* to = y + r * ldy + column;
        for (int j = 0; j < n; j++) to[j] = (accumulate ? to[j] : 0) + apart[r * n + j] * gain[j];
      });
    } else {
      exact_linear(w, rows, x, y + column, ldy, accumulate);
      add_low_rank(stack, rows, x, y + column, ldy);
    }
    column += n;
  }
  if (!projections.bias) return;
  const float* bias = projections.bias->data<float>();
  each_row(rows, ldy, [&](long r) {
    for (long j = 0; j < ldy; j++) y[r * ldy + j] += bias[j];
  });
}

/** x += projections(input), or x += norm(projections(input)). */
void add_projected(const PlannedProjections& projections, const std::optional<PlannedNorm>& norm, int rows,
                   const float* input, float* x) {
  if (!norm) {
    project(projections, rows, input, x, true);
    return;
  }
  const int h = projections.outputs();
  std::vector<float> result((size_t)rows * h);
  project(projections, rows, input, result.data(), false);
  normalise(*norm, rows, result.data(), result.data());
  for (size_t i = 0; i < result.size(); i++) x[i] += result[i];
}

void normalise_heads(const PlannedNorm& norm, int heads, int dim, float* row) {
  for (int h = 0; h < heads; h++)
    rms_norm_row(row + h * dim, norm.weight.data<float>(), norm.offset, norm.eps, dim, row + h * dim);
}

/** Queries and keys of each row, normalised head by head and turned. */
void prepare_heads(const PlannedBlock& block, int rows, const Angles* angles, float* qkv) {
  const Heads& heads = block.heads;
  const int columns = (heads.query + 2 * heads.key) * heads.dim;
  const int half = angles ? width(angles->cosines) : 0;
  each_row(rows, columns, [&](long r) {
    float* row = qkv + r * columns;
    if (block.query_norm) normalise_heads(*block.query_norm, heads.query, heads.dim, row);
    if (block.key_norm) normalise_heads(*block.key_norm, heads.key, heads.dim, row + heads.query * heads.dim);
    if (angles)
      rope_row(row, angles->cosines.data<float>() + r * half, angles->sines.data<float>() + r * half, half, 1,
               heads.query + heads.key, heads.dim, columns, row);
  });
}

void check_projections(const PlannedProjections& projections, int inputs, int outputs) {
  require(projections.outputs() == outputs, "decoderPlan: a projection has another width than its block says");
  require(!projections.bias || static_cast<int>(projections.bias->size()) == outputs, "decoderPlan: one bias a column");
  for (const auto& stack : projections.stacks) {
    int total = 0;
    for (const auto& layer : stack.layers) {
      total += layer.outputs;
      require(layer.a.has_value() == layer.b.has_value(), "decoderPlan: A and B come together");
      require(!layer.a || (layer.a->ndim() == 2 && layer.b->ndim() == 2 && width(*layer.a) == inputs &&
                           width(*layer.b) == layer.a->shape(0) && layer.b->shape(0) == layer.outputs),
              "decoderPlan: A is (r, k) and B is (n, r)");
    }
    require(frozen_columns(stack.weight, stack.packing) == inputs && stack.outputs() == total,
            "decoderPlan: a weight has another shape than its layers");
    require(!stack.gain || static_cast<int>(stack.gain->size()) == total, "decoderPlan: one gain a column");
  }
}

void check_norm(const std::optional<PlannedNorm>& norm, int size) {
  require(!norm || (norm->weight.ndim() == 1 && width(norm->weight) == size), "decoderPlan: a norm has another size");
}

}  // namespace

int PlannedProjections::outputs() const {
  int total = 0;
  for (const auto& stack : stacks) total += stack.outputs();
  return total;
}

DecoderPlan::DecoderPlan(mx::array embedding, Packing embedding_packing, float embedding_scale,
                         std::vector<PlannedBlock> blocks, PlannedNorm norm, mx::array head, Packing head_packing)
    : embedding_(std::move(embedding)), embedding_packing_(embedding_packing), embedding_scale_(embedding_scale),
      blocks_(std::move(blocks)), norm_(std::move(norm)), head_(std::move(head)), head_packing_(head_packing) {
  const int h = frozen_columns(embedding_, embedding_packing_);
  require(frozen_columns(head_, head_packing_) == h, "decoderPlan: head and embedding differ in width");
  check_norm(norm_, h);
  for (const auto& block : blocks_) {
    const Heads& heads = block.heads;
    require(heads.key > 0 && heads.dim > 0 && heads.query % heads.key == 0 && block.window >= 0,
            "decoderPlan: query heads must be a multiple of key heads");
    check_projections(block.qkv, h, (heads.query + 2 * heads.key) * heads.dim);
    check_projections(block.output, heads.query * heads.dim, h);
    const int inner = block.gate_up.outputs() / 2;
    check_projections(block.gate_up, h, 2 * inner);
    check_projections(block.down, inner, h);
    check_norm(block.input_norm, h), check_norm(block.mlp_norm, h);
    check_norm(block.attended_norm, h), check_norm(block.mlp_output_norm, h);
    check_norm(block.query_norm, heads.dim), check_norm(block.key_norm, heads.dim);
  }
}

void DecoderPlan::check(const StepRows& rows, const std::vector<Angles>& angles, const KvCache& cache,
                        const std::vector<int>& draws) const {
  const size_t n = rows.ids.size();
  require(n > 0 && rows.positions.size() == n && rows.slots.size() == n,
          "decoderStep: one position and slot for each row");
  require(static_cast<int>(blocks_.size()) == cache.layers, "decoderStep: the cache has other layers");
  for (size_t i = 0; i < n; i++) {
    require(rows.slots[i] >= 0 && rows.slots[i] < cache.slots && rows.positions[i] >= 0 &&
                rows.positions[i] < cache.positions,
            "decoderStep: slot or position out of range");
    require(rows.ids[i] >= 0 && rows.ids[i] < embedding_.shape(0), "decoderStep: a token outside the vocabulary");
  }
  for (int row : draws) require(row >= 0 && row < rows.count(), "decoderStep: a draw from a row that is not there");
  for (const auto& block : blocks_) {
    require(block.heads.key == cache.heads && block.heads.dim == cache.dim, "decoderStep: the cache has other heads");
    require(block.rotation < static_cast<int>(angles.size()), "decoderStep: angles are missing");
    if (block.rotation < 0) continue;
    const auto& [cosines, sines] = angles[block.rotation];
    require(cosines.ndim() == 2 && cosines.shape() == sines.shape() && cosines.shape(0) == rows.count() &&
                2 * width(cosines) <= block.heads.dim,
            "decoderStep: angles are (rows, up to dim / 2)");
  }
}

mx::array DecoderPlan::step(const StepRows& rows, const std::vector<Angles>& angles, KvCache& cache,
                            const std::vector<int>& draws) const {
  check(rows, angles, cache, draws);
  const int n = rows.count(), h = frozen_columns(embedding_, embedding_packing_);
  std::vector<float> x((size_t)n * h), normed((size_t)n * h), wide, narrow;
  const FrozenMatrix embedding = frozen_matrix(embedding_, embedding_packing_);
  for (int r = 0; r < n; r++) read_row(embedding, rows.ids[r], x.data() + (size_t)r * h);
  if (embedding_scale_ != 1)
    for (auto& value : x) value *= embedding_scale_;
  for (size_t layer = 0; layer < blocks_.size(); layer++) {
    const PlannedBlock& block = blocks_[layer];
    const Heads& heads = block.heads;
    normalise(block.input_norm, n, x.data(), normed.data());
    wide.resize((size_t)n * block.qkv.outputs());
    project(block.qkv, n, normed.data(), wide.data(), false);
    prepare_heads(block, n, block.rotation < 0 ? nullptr : &angles[block.rotation], wide.data());
    narrow.resize((size_t)n * heads.query * heads.dim);
    cached_attention(wide.data(), n, cache, static_cast<int>(layer), rows.slots.data(), rows.positions.data(), heads,
                     block.scale, block.window, narrow.data());
    add_projected(block.output, block.attended_norm, n, narrow.data(), x.data());

    normalise(block.mlp_norm, n, x.data(), normed.data());
    const int inner = block.gate_up.outputs() / 2;
    wide.resize((size_t)n * 2 * inner);
    project(block.gate_up, n, normed.data(), wide.data(), false);
    narrow.resize((size_t)n * inner);
    each_row(n, inner, [&](long r) {
      gated_row(block.activation, wide.data() + r * 2 * inner, inner, narrow.data() + r * inner);
    });
    add_projected(block.down, block.mlp_output_norm, n, narrow.data(), x.data());
  }

  const int count = static_cast<int>(draws.size()), vocabulary = head_.shape(0);
  mx::array logits(allocate(sizeof(float) * std::max(1, count) * vocabulary), {count, vocabulary}, mx::float32);
  for (int i = 0; i < count; i++)
    std::memcpy(normed.data() + (size_t)i * h, x.data() + (size_t)draws[i] * h, sizeof(float) * h);
  normalise(norm_, count, normed.data(), normed.data());
  exact_linear(frozen_matrix(head_, head_packing_), count, normed.data(), logits.data<float>(), vocabulary, false);
  return logits;
}

}  // namespace shadow
