// Causal attention with grouped queries over a forest of runs, forward and backward. A run goes on from the end
// of its parent; a token attends to its ancestor runs and, causally, to its own. A forest of single runs is a
// packed batch. Runs come depth-first, so one buffer indexed by depth always holds the keys and values of the path
// to the run at hand: each token is put there once, and a sibling overwrites what its elder left.
// Scores exist for one block of query rows at a time, so memory grows with depth, never with its square.
// The backward pass recomputes the probabilities from the saved log-sum-exp:
//   P = exp(S − lse), dV = Pᵀ·dO, dP = dO·Vᵀ, dS = P·(dP − rowsum(dO·O)), dQ = scale·dS·K, dK = scale·dSᵀ·Q.
// One task owns one (tree, key head) with all its query heads, so no two threads add to the same gradient, and the
// gradients of descendants are added in the order of the runs.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "fused.h"
#include "micro-gemm.h"
#include "parallel.h"
#include "primitive.h"
#include "simd.h"

namespace shadow {
namespace {

/** Rows of queries at a time: short blocks compute less that the mask discards; whole tiles of six rows, whole vectors. */
constexpr int kQueryBlock = 48;

int round_up(int n) { return (n + kLanes - 1) / kLanes * kLanes; }

/** exp(row·scale − max) over `valid` lanes, zeros after; returns the sum and sets the maximum. */
float exponentiate(float* row, int valid, int padded, float scale, float* maximum) {
  vec top = splat(-INFINITY);
  int j = 0;
  for (; j + kLanes <= valid; j += kLanes) top = max(top, load(row + j));
  if (j < valid) top = max(top, load_part(row + j, valid - j, -INFINITY));
  float m = max_lane(top) * scale;
  vec total{};
  for (j = 0; j + kLanes <= valid; j += kLanes) {
    vec e = exp(load(row + j) * scale - m);
    store(row + j, e);
    total += e;
  }
  float sum_of_row = sum(total);
  if (j < valid) {
    store_part(row + j, exp(load_part(row + j, valid - j) * scale - m), valid - j);
    for (; j < valid; j++) sum_of_row += row[j];
  }
  for (j = valid; j < padded; j++) row[j] = 0;
  *maximum = m;
  return sum_of_row;
}

struct Run {
  int start, length, depth;
  /** Index of the run that this one goes on from; −1 for a root. */
  int parent;
};

struct Layout {
  Heads heads;
  std::vector<Run> runs;
  /** The first run of each tree, then the number of runs. */
  std::vector<int> trees;
  float scale;
  /** How many tokens back a token sees, itself included; 0: all. */
  int window;

  int columns() const { return (heads.query + 2 * heads.key) * heads.dim; }
  int group() const { return heads.query / heads.key; }
  int tasks() const { return static_cast<int>(trees.size() - 1) * heads.key; }
  int first_visible(int depth) const { return window > 0 ? std::max(0, depth + 1 - window) : 0; }
};

/** One tree and key head: where its rows stand, and the length of its longest path. */
struct Task {
  int key_head, first_run, last_run, deepest = 0;
  Task(const Layout& layout, int task) {
    key_head = task % layout.heads.key;
    first_run = layout.trees[task / layout.heads.key];
    last_run = layout.trees[task / layout.heads.key + 1];
    for (int r = first_run; r < last_run; r++)
      deepest = std::max(deepest, layout.runs[r].depth + layout.runs[r].length);
  }
};

/** Rows of `dim` values into a dense buffer. */
void copy_rows(int rows, int dim, const float* from, long ld_from, float* to, long ld_to) {
  for (int i = 0; i < rows; i++) std::memcpy(to + i * ld_to, from + i * ld_from, sizeof(float) * dim);
}

class AttentionGrad : public FusedPrimitive {
 public:
  explicit AttentionGrad(Layout layout) : layout_(std::move(layout)) {}
  const char* name() const override { return "AttentionGrad"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    queue(outputs, inputs, [layout = layout_](auto& in, auto& out) {
      const float* qkv = in[0].template data<float>();
      const float* o = in[1].template data<float>();
      const float* lse = in[2].template data<float>();
      const float* d_o = in[3].template data<float>();
      float* d_qkv = out[0].template data<float>();
      int tokens = in[0].shape(0);
      parallel_for(layout.tasks(),
                   [&](int index) { Work(layout, Task(layout, index), tokens, qkv, o, lse, d_o, d_qkv).run(); });
    });
  }

 private:
  /** The path to the run at hand, by depth: keys and values (transposed, and keys as rows), and their gradients. */
  class Work {
   public:
    Work(const Layout& layout, Task task, int tokens, const float* qkv, const float* o, const float* lse,
         const float* d_o, float* d_qkv)
        : layout_(layout), task_(task), tokens_(tokens), dim_(layout.heads.dim), columns_(layout.columns()),
          padded_(round_up(task.deepest)), qkv_(qkv), o_(o), lse_(lse), d_o_(d_o), d_qkv_(d_qkv),
          keys_((size_t)task.deepest * dim_), keys_t_((size_t)dim_ * padded_), values_t_((size_t)dim_ * padded_),
          d_keys_((size_t)task.deepest * dim_), d_values_((size_t)task.deepest * dim_),
          p_((size_t)kQueryBlock * padded_), d_p_((size_t)kQueryBlock * padded_) {}

    void run() {
      std::vector<int> path;
      for (int r = task_.first_run; r < task_.last_run; r++) {
        for (; !path.empty() && path.back() != layout_.runs[r].parent; path.pop_back()) leave(layout_.runs[path.back()]);
        enter(layout_.runs[r]);
        for (int g = 0; g < layout_.group(); g++)
          for (int i = 0; i < layout_.runs[r].length; i += kQueryBlock) block(layout_.runs[r], g, i);
        path.push_back(r);
      }
      for (; !path.empty(); path.pop_back()) leave(layout_.runs[path.back()]);
    }

   private:
    long key_column() const { return (long)(layout_.heads.query + task_.key_head) * dim_; }
    long value_column() const { return key_column() + (long)layout_.heads.key * dim_; }

    void enter(const Run& run) {
      const float* rows = qkv_ + (long)run.start * columns_;
      copy_rows(run.length, dim_, rows + key_column(), columns_, keys_.data() + (long)run.depth * dim_, dim_);
      transpose(run.length, dim_, rows + key_column(), columns_, keys_t_.data() + run.depth, padded_);
      transpose(run.length, dim_, rows + value_column(), columns_, values_t_.data() + run.depth, padded_);
      std::fill_n(d_keys_.data() + (long)run.depth * dim_, (long)run.length * dim_, 0.0f);
      std::fill_n(d_values_.data() + (long)run.depth * dim_, (long)run.length * dim_, 0.0f);
    }

    void leave(const Run& run) {
      float* rows = d_qkv_ + (long)run.start * columns_;
      copy_rows(run.length, dim_, d_keys_.data() + (long)run.depth * dim_, dim_, rows + key_column(), columns_);
      copy_rows(run.length, dim_, d_values_.data() + (long)run.depth * dim_, dim_, rows + value_column(), columns_);
    }

    void block(const Run& run, int g, int i0) {
      const int head = task_.key_head * layout_.group() + g, out_columns = layout_.heads.query * dim_;
      const int n = std::min(kQueryBlock, run.length - i0), start = run.start + i0, depth = run.depth + i0;
      const int reach = depth + n, reach_padded = round_up(reach);
      const float* d_out = d_o_ + (long)start * out_columns + head * dim_;
      const float* out = o_ + (long)start * out_columns + head * dim_;
      const float* q = qkv_ + (long)start * columns_ + head * dim_;
      float* d_q = d_qkv_ + (long)start * columns_ + head * dim_;
      micro_gemm(n, reach_padded, dim_, layout_.scale, {q, columns_, 1}, keys_t_.data(), padded_, p_.data(), padded_,
                 false);
      micro_gemm(n, reach_padded, dim_, 1, {d_out, out_columns, 1}, values_t_.data(), padded_, d_p_.data(), padded_,
                 false);
      for (int i = 0; i < n; i++) {
        float dot = 0;
        for (int d = 0; d < dim_; d++) dot += d_out[(long)i * out_columns + d] * out[(long)i * out_columns + d];
        slopes(p_.data() + (size_t)i * padded_, d_p_.data() + (size_t)i * padded_, depth + i, reach_padded,
               lse_[(long)head * tokens_ + start + i], dot);
      }
      micro_gemm(reach, dim_, n, 1, {p_.data(), 1, padded_}, d_out, out_columns, d_values_.data(), dim_, true);
      micro_gemm(reach, dim_, n, layout_.scale, {d_p_.data(), 1, padded_}, q, columns_, d_keys_.data(), dim_, true);
      micro_gemm(n, dim_, reach, layout_.scale, {d_p_.data(), padded_, 1}, keys_.data(), dim_, d_q, columns_, false);
    }

    /** Scores become probabilities, and dP becomes dS. What a row does not see holds no number at all, so it is
     *  masked, not multiplied by zero. */
    void slopes(float* p, float* d_p, int depth, int padded, float normaliser, float dot) const {
      const int first = layout_.first_visible(depth);
      for (int j = 0; j < padded; j += kLanes) {
        vec probability = exp(load(p + j) - normaliser);
        vec slope = probability * (load(d_p + j) - dot);
        if (j < first || j + kLanes > depth + 1) {
          const ivec position = lane_numbers() + j, visible = (position > first - 1) & (position < depth + 1);
          probability = select(visible, probability, vec{});
          slope = select(visible, slope, vec{});
        }
        store(p + j, probability);
        store(d_p + j, slope);
      }
    }

    const Layout& layout_;
    const Task task_;
    const int tokens_, dim_, columns_, padded_;
    const float *qkv_, *o_, *lse_, *d_o_;
    float* d_qkv_;
    std::vector<float> keys_, keys_t_, values_t_, d_keys_, d_values_, p_, d_p_;
  };

  Layout layout_;
};

class Attention : public FusedPrimitive {
 public:
  explicit Attention(Layout layout) : layout_(std::move(layout)) {}
  const char* name() const override { return "Attention"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    queue(outputs, inputs, [layout = layout_](auto& in, auto& out) {
      const float* qkv = in[0].template data<float>();
      float* o = out[0].template data<float>();
      float* lse = out[1].template data<float>();
      int tokens = in[0].shape(0);
      parallel_for(layout.tasks(), [&](int index) { run(layout, Task(layout, index), tokens, qkv, o, lse); });
    });
  }

  std::vector<mx::array> vjp(const std::vector<mx::array>& primals, const std::vector<mx::array>& cotangents,
                             const std::vector<int>&, const std::vector<mx::array>& outputs) override {
    return {mx::array(primals[0].shape(), mx::float32, std::make_shared<AttentionGrad>(layout_),
                      {primals[0], outputs[0], outputs[1], dense(cotangents[0])})};
  }

 private:
  static void run(const Layout& layout, Task task, int tokens, const float* qkv, float* o, float* lse) {
    const Heads& heads = layout.heads;
    const int dim = heads.dim, columns = layout.columns(), out_columns = heads.query * dim;
    const int padded = round_up(task.deepest);
    std::vector<float> keys_t((size_t)dim * padded), values((size_t)task.deepest * dim), p((size_t)kQueryBlock * padded);
    for (int r = task.first_run; r < task.last_run; r++) {
      const Run& run = layout.runs[r];
      const float* keys = qkv + (long)run.start * columns + (heads.query + task.key_head) * dim;
      transpose(run.length, dim, keys, columns, keys_t.data() + run.depth, padded);
      copy_rows(run.length, dim, keys + heads.key * dim, columns, values.data() + (long)run.depth * dim, dim);
      for (int g = 0; g < layout.group(); g++) {
        const int head = task.key_head * layout.group() + g;
        for (int i0 = 0; i0 < run.length; i0 += kQueryBlock) {
          const int n = std::min(kQueryBlock, run.length - i0), start = run.start + i0, depth = run.depth + i0;
          const int reach = depth + n, reach_padded = round_up(reach);
          const float* q = qkv + (long)start * columns + head * dim;
          float* out = o + (long)start * out_columns + head * dim;
          micro_gemm(n, reach_padded, dim, 1, {q, columns, 1}, keys_t.data(), padded, p.data(), padded, false);
          for (int i = 0; i < n; i++) {
            float maximum;
            float* row = p.data() + (size_t)i * padded;
            const int first = layout.first_visible(depth + i);
            float total = exponentiate(row + first, depth + i + 1 - first, reach_padded - first, layout.scale, &maximum);
            lse[(long)head * tokens + start + i] = maximum + std::log(total);
            float inverse = 1 / total;
            std::fill_n(row, first, 0.0f);
            for (int j = first; j < reach; j++) row[j] *= inverse;
          }
          micro_gemm(n, dim, reach, 1, {p.data(), padded, 1}, values.data(), dim, out, out_columns, false);
        }
      }
    }
  }

  Layout layout_;
};

/** @throws std::invalid_argument unless runs come depth-first and each follows the end of its parent */
Layout layout_of(const std::vector<int>& segments, const std::vector<int>& parents, Heads heads, float scale,
                 int window) {
  const int count = static_cast<int>(segments.size()) - 1;
  require(parents.empty() || static_cast<int>(parents.size()) == count, "attention: one parent for each run");
  Layout layout{heads, {}, {}, scale, window};
  std::vector<int> path;
  for (int r = 0; r < count; r++) {
    const int parent = parents.empty() ? -1 : parents[r];
    while (!path.empty() && path.back() != parent) path.pop_back();
    require(parent == -1 || !path.empty(), "attention: runs must come depth-first, each after its parent");
    if (parent == -1) layout.trees.push_back(r);
    const int depth = parent == -1 ? 0 : layout.runs[parent].depth + layout.runs[parent].length;
    layout.runs.push_back({segments[r], segments[r + 1] - segments[r], depth, parent});
    path.push_back(r);
  }
  layout.trees.push_back(count);
  return layout;
}

}  // namespace

mx::array attention(const mx::array& qkv, const std::vector<int>& segments, const std::vector<int>& parents,
                    Heads heads, float scale, int window) {
  require(heads.key > 0 && heads.query % heads.key == 0, "attention: query heads must be a multiple of key heads");
  require(qkv.ndim() == 2 && width(qkv) == (heads.query + 2 * heads.key) * heads.dim,
          "attention: expects (tokens, (query + 2·key)·dim)");
  require(segments.size() >= 2 && segments.front() == 0 && segments.back() == qkv.shape(0) &&
              std::is_sorted(segments.begin(), segments.end()),
          "attention: segments must cover the tokens in order");
  require(window >= 0, "attention: a window is a number of tokens, or 0 for all");
  int tokens = qkv.shape(0);
  return mx::array::make_arrays({{tokens, heads.query * heads.dim}, {heads.query, tokens}}, {mx::float32, mx::float32},
                                std::make_shared<Attention>(layout_of(segments, parents, heads, scale, window)),
                                {dense(qkv)})[0];
}

}  // namespace shadow
