// The fused operations, as functions on lazy arrays. Every one has a derivative.
#pragma once

#include <cmath>
#include <memory>
#include <optional>
#include <vector>

#include "frozen-matrix.h"
#include "mlx/array.h"

namespace shadow {

namespace mx = mlx::core;

/** x · weight / rms(x) over the last axis. x (..., d), weight (d). */
mx::array rms_norm(const mx::array& x, const mx::array& weight, float eps);

/** The rows `ids` (n) int32 of a dense matrix, (n, h). Ids are within it. */
mx::array embedding(const mx::array& weight, const mx::array& ids);

enum class Activation { silu, gelu_tanh };

/** act(gate) · up. gate_up (rows, 2n) holds gate in its first n columns, up in the rest; result (rows, n). */
mx::array gated_activation(const mx::array& gate_up, Activation activation);

/** Rotary embedding, half-split (Hugging Face) layout, of the first `heads` heads of each row.
 *  x (rows, c), cosines and sines (rows, d / 2); of each head the first d ≤ head_dim columns are rotated. */
mx::array rope(const mx::array& x, const mx::array& cosines, const mx::array& sines, int heads, int head_dim);

struct Heads {
  int query;
  int key;
  int dim;
};

/** Causal attention over a forest of runs. qkv (tokens, (query + 2·key)·dim), rotated; segments are the runs'
 *  starts, then the end; parents[r] is the run at whose end run r goes on, −1 for a root, and runs come
 *  depth-first; without parents all are roots: a packed batch. A token sees the last `window` tokens of its path,
 *  itself included; 0 means all. Result (tokens, query·dim). */
mx::array attention(const mx::array& qkv, const std::vector<int>& segments, const std::vector<int>& parents,
                    Heads heads, float scale, int window);

/** One frozen matrix that stacks `outputs.size()` projections of the same input, with LoRA factors for
 *  some of them: y_i = x·W_iᵀ + scale·(x·A_iᵀ)·B_iᵀ (+ residual).
 *  x (rows, k), weight (Σ outputs, k) dense or packed, a[i] (r, k), b[i] (outputs[i], r) or absent.
 *  `exact_rows`: a row's result does not depend on how many rows there are (inference). */
struct LoraFactors {
  std::optional<mx::array> a;
  std::optional<mx::array> b;
};
mx::array lora_linear(const mx::array& x, const mx::array& weight, std::vector<int> outputs,
                      const std::vector<LoraFactors>& factors, float scale,
                      const std::optional<mx::array>& residual, bool exact_rows, const Packing& packing);

/** −log softmax(hidden[rows[i]] · weightᵀ)[targets[i]] without keeping logits; weight is frozen.
 *  hidden (tokens, h), weight (vocabulary, h) dense or packed, rows and targets (n) int32; result (n). */
mx::array linear_cross_entropy(const mx::array& hidden, const mx::array& weight, const mx::array& rows,
                               const mx::array& targets, bool needs_gradient, const Packing& packing);

/** `output`, for whose derivative all between it and `inputs` is computed again instead of being kept. Needed while a
 *  function is differentiated, elsewhere without effect. `output` depends on nothing differentiated but the inputs. */
mx::array checkpoint(const mx::array& output, const std::vector<mx::array>& inputs);

/** Keys and values of `slots` sequences, for every layer: values [layer][slot][head][position][dim]; keys the same, but
 *  for sixteen positions at a time, which lie [dim][position]. */
class KvCache {
 public:
  KvCache(int layers, int slots, int positions, int heads, int dim);
  const int layers, slots, positions, heads, dim;
  float* keys(int layer, int slot, int head);
  float* values(int layer, int slot, int head);
  void put(int layer, int slot, int head, int position, const float* key, const float* value);
  /** Copies the first `length` positions of one slot to another. */
  void copy_prefix(int from, int to, int length);
  size_t bytes() const;

 private:
  size_t offset(int layer, int slot, int head) const;
  std::unique_ptr<float[]> keys_;
  std::unique_ptr<float[]> values_;
};

struct AdamW {
  double learning_rate, beta1, beta2, eps, weight_decay;
  int step;
};

/** What a step multiplies by, derived in f64 and rounded once, as PyTorch does; 1 − beta in f32 would be off by its
 *  cancellation. */
struct AdamWFactors {
  explicit AdamWFactors(const AdamW& options);
  /** The new value of one parameter, and of its moments. */
  void apply(float& p, float gradient, float& m, float& v) const {
    m = beta1 * m + fresh1 * gradient;
    v = beta2 * v + fresh2 * gradient * gradient;
    p = keep * p - step_size * m / (std::sqrt(v) / correction2 + eps);
  }
  float beta1, fresh1, beta2, fresh2, step_size, correction2, keep, eps;
};

/** The values of an evaluated, dense f32 array whose memory nobody shares. */
float* in_place(mx::array& x);

/** One decoupled-weight-decay Adam step (PyTorch's formula), in place. All arrays are evaluated, dense and
 *  owned by the caller; gradients are multiplied by `gradient_scale` first. */
void adamw(std::vector<mx::array>& parameters, const std::vector<mx::array>& gradients,
           std::vector<mx::array>& first, std::vector<mx::array>& second, AdamW options, float gradient_scale);

/** sqrt(Σ x²) over all arrays, summed in f64. */
double global_norm(const std::vector<mx::array>& arrays);

/** into[i] = from[i], in place. */
void copy_in_place(std::vector<mx::array>& into, const std::vector<mx::array>& from);

/** into[i] += from[i], in place. */
void add_in_place(std::vector<mx::array>& into, const std::vector<mx::array>& from);

}  // namespace shadow
