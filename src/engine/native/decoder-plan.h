// A decoder laid out for generation: everything that a step reads, gathered once, so that a step is one call and
// builds no graph. Each row is computed by itself, so that it does not depend on its batch mates.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "fused.h"

namespace shadow {

/** Neighbouring linear layers in one frozen matrix, with an adapter's part of each. */
struct PlannedStack {
  struct Layer {
    int outputs;
    /** (r, k) and (outputs, r), and the factor on their product; absent where the layer is not adapted. */
    std::optional<mx::array> a, b;
    float scale;
  };
  mx::array weight;
  Packing packing;
  std::vector<Layer> layers;
  /** What DoRA multiplies the outputs by, (Σ outputs). */
  std::optional<mx::array> gain;

  int outputs() const { return weight.shape(0); }
};

/** Linear layers that read the same input; their outputs stand side by side. */
struct PlannedProjections {
  std::vector<PlannedStack> stacks;
  /** (Σ outputs) */
  std::optional<mx::array> bias;

  int outputs() const;
};

struct PlannedNorm {
  mx::array weight;
  float offset, eps;
};

struct PlannedBlock {
  PlannedNorm input_norm, mlp_norm;
  /** Over what attention and MLP give, before it is added. */
  std::optional<PlannedNorm> attended_norm, mlp_output_norm;
  /** Over each head. */
  std::optional<PlannedNorm> query_norm, key_norm;
  PlannedProjections qkv, output, gate_up, down;
  Heads heads;
  float scale;
  int window;
  Activation activation;
  /** Which angles turn queries and keys; −1: none. */
  int rotation;
};

/** Rows of running sequences. */
struct StepRows {
  std::vector<int> ids, positions, slots;
  int count() const { return static_cast<int>(ids.size()); }
};

/** (rows, half) cosines and sines. */
struct Angles {
  mx::array cosines, sines;
};

class DecoderPlan {
 public:
  /** All arrays are evaluated and dense; throws std::invalid_argument where sizes do not fit each other. */
  DecoderPlan(mx::array embedding, Packing embedding_packing, float embedding_scale, std::vector<PlannedBlock> blocks,
              PlannedNorm norm, mx::array head, Packing head_packing);

  /** Feeds the rows into the cache, and returns the logits (draws, vocabulary) of some of them. */
  mx::array step(const StepRows& rows, const std::vector<Angles>& angles, KvCache& cache,
                 const std::vector<int>& draws) const;

 private:
  void check(const StepRows& rows, const std::vector<Angles>& angles, const KvCache& cache,
             const std::vector<int>& draws) const;

  mx::array embedding_;
  Packing embedding_packing_;
  float embedding_scale_;
  std::vector<PlannedBlock> blocks_;
  PlannedNorm norm_;
  mx::array head_;
  Packing head_packing_;
};

}  // namespace shadow
