// Causal attention with grouped queries over a packed batch, forward and backward. Scores exist for one
// block of query rows at a time, so memory grows with length, never with its square. The backward pass
// recomputes the probabilities from the saved log-sum-exp:
//   P = exp(S − lse), dV = Pᵀ·dO, dP = dO·Vᵀ, dS = P·(dP − rowsum(dO·O)), dQ = scale·dS·K, dK = scale·dSᵀ·Q.
// One task owns one (segment, key head) with all its query heads, so no two threads add to the same gradient.
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

constexpr int kQueryBlock = 64;

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
    vec e = exp(load_part(row + j, valid - j) * scale - m);
    for (int i = 0; i < valid - j; i++) {
      row[j + i] = e[i];
      sum_of_row += e[i];
    }
  }
  for (j = valid; j < padded; j++) row[j] = 0;
  *maximum = m;
  return sum_of_row;
}

struct Layout {
  Heads heads;
  std::vector<int> segments;
  float scale;
  int columns() const { return (heads.query + 2 * heads.key) * heads.dim; }
  int group() const { return heads.query / heads.key; }
};

/** The task's segment and key head, and where their rows start in the packed arrays. */
struct Task {
  int start, length, key_head;
  Task(const Layout& layout, int task) {
    int segment = task / layout.heads.key;
    key_head = task % layout.heads.key;
    start = layout.segments[segment];
    length = layout.segments[segment + 1] - start;
  }
};

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
      parallel_for(static_cast<int>(layout.segments.size() - 1) * layout.heads.key,
                   [&](int index) { run(layout, Task(layout, index), tokens, qkv, o, lse, d_o, d_qkv); });
    });
  }

 private:
  static void run(const Layout& layout, Task task, int tokens, const float* qkv, const float* o, const float* lse,
                  const float* d_o, float* d_qkv) {
    const Heads& heads = layout.heads;
    const int dim = heads.dim, length = task.length, columns = layout.columns(), out_columns = heads.query * dim;
    const int padded = round_up(length);
    const long first = (long)task.start * columns;
    const float* keys = qkv + first + (heads.query + task.key_head) * dim;
    const float* values = keys + heads.key * dim;
    float* d_keys = d_qkv + first + (heads.query + task.key_head) * dim;
    float* d_values = d_keys + heads.key * dim;
    std::vector<float> keys_t((size_t)dim * padded), values_t((size_t)dim * padded);
    transpose(length, dim, keys, columns, keys_t.data(), padded);
    transpose(length, dim, values, columns, values_t.data(), padded);
    std::vector<float> p((size_t)kQueryBlock * padded), d_p((size_t)kQueryBlock * padded);
    for (int j = 0; j < length; j++) {
      std::memset(d_keys + (long)j * columns, 0, sizeof(float) * dim);
      std::memset(d_values + (long)j * columns, 0, sizeof(float) * dim);
    }
    for (int g = 0; g < layout.group(); g++) {
      const int head = task.key_head * layout.group() + g;
      const float* queries = qkv + first + head * dim;
      float* d_queries = d_qkv + first + head * dim;
      for (int i0 = 0; i0 < length; i0 += kQueryBlock) {
        const int n = std::min(kQueryBlock, length - i0);
        const int reach = i0 + n;
        const int reach_padded = round_up(reach);
        const float* d_out = d_o + (long)(task.start + i0) * out_columns + head * dim;
        const float* out = o + (long)(task.start + i0) * out_columns + head * dim;
        const float* q = queries + (long)i0 * columns;
        micro_gemm(n, reach_padded, dim, layout.scale, {q, columns, 1}, keys_t.data(), padded, p.data(), padded, false);
        micro_gemm(n, reach_padded, dim, 1, {d_out, out_columns, 1}, values_t.data(), padded, d_p.data(), padded, false);
        for (int i = 0; i < n; i++) {
          float* p_row = p.data() + (size_t)i * padded;
          float* d_row = d_p.data() + (size_t)i * padded;
          const float normaliser = lse[(long)head * tokens + task.start + i0 + i];
          float dot = 0;
          for (int d = 0; d < dim; d++) dot += d_out[(long)i * out_columns + d] * out[(long)i * out_columns + d];
          const int valid = i0 + i + 1;
          for (int j = 0; j < reach_padded; j += kLanes) {
            vec probability = exp(load(p_row + j) - normaliser);
            if (j + kLanes > valid)
              for (int lane = std::max(0, valid - j); lane < kLanes; lane++) probability[lane] = 0;
            store(p_row + j, probability);
            // Lanes past the last key hold no number at all, so they are masked, not multiplied by zero.
            vec slope = probability * (load(d_row + j) - dot);
            if (j + kLanes > valid)
              for (int lane = std::max(0, valid - j); lane < kLanes; lane++) slope[lane] = 0;
            store(d_row + j, slope);
          }
        }
        micro_gemm(reach, dim, n, 1, {p.data(), 1, padded}, d_out, out_columns, d_values, columns, true);
        micro_gemm(reach, dim, n, layout.scale, {d_p.data(), 1, padded}, q, columns, d_keys, columns, true);
        micro_gemm(n, dim, reach, layout.scale, {d_p.data(), padded, 1}, keys, columns, d_queries + (long)i0 * columns,
                   columns, false);
      }
    }
  }

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
      parallel_for(static_cast<int>(layout.segments.size() - 1) * layout.heads.key,
                   [&](int index) { run(layout, Task(layout, index), tokens, qkv, o, lse); });
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
    const int dim = heads.dim, length = task.length, columns = layout.columns(), out_columns = heads.query * dim;
    const int padded = round_up(length);
    const long first = (long)task.start * columns;
    const float* keys = qkv + first + (heads.query + task.key_head) * dim;
    const float* values = keys + heads.key * dim;
    std::vector<float> keys_t((size_t)dim * padded), p((size_t)kQueryBlock * padded);
    transpose(length, dim, keys, columns, keys_t.data(), padded);
    for (int g = 0; g < layout.group(); g++) {
      const int head = task.key_head * layout.group() + g;
      for (int i0 = 0; i0 < length; i0 += kQueryBlock) {
        const int n = std::min(kQueryBlock, length - i0);
        const int reach_padded = round_up(i0 + n);
        const float* q = qkv + first + (long)i0 * columns + head * dim;
        float* out = o + (long)(task.start + i0) * out_columns + head * dim;
        micro_gemm(n, reach_padded, dim, 1, {q, columns, 1}, keys_t.data(), padded, p.data(), padded, false);
        for (int i = 0; i < n; i++) {
          float maximum;
          float* row = p.data() + (size_t)i * padded;
          float total = exponentiate(row, i0 + i + 1, reach_padded, layout.scale, &maximum);
          lse[(long)head * tokens + task.start + i0 + i] = maximum + std::log(total);
          float inverse = 1 / total;
          for (int j = 0; j < i0 + n; j++) row[j] *= inverse;
        }
        micro_gemm(n, dim, i0 + n, 1, {p.data(), padded, 1}, values, columns, out, out_columns, false);
      }
    }
  }

  Layout layout_;
};

}  // namespace

mx::array attention(const mx::array& qkv, std::vector<int> segments, Heads heads, float scale) {
  require(heads.key > 0 && heads.query % heads.key == 0, "attention: query heads must be a multiple of key heads");
  require(qkv.ndim() == 2 && width(qkv) == (heads.query + 2 * heads.key) * heads.dim,
          "attention: expects (tokens, (query + 2·key)·dim)");
  require(segments.size() >= 2 && segments.front() == 0 && segments.back() == qkv.shape(0) &&
              std::is_sorted(segments.begin(), segments.end()),
          "attention: segments must cover the tokens in order");
  int tokens = qkv.shape(0);
  Layout layout{heads, std::move(segments), scale};
  return mx::array::make_arrays({{tokens, heads.query * heads.dim}, {heads.query, tokens}}, {mx::float32, mx::float32},
                                std::make_shared<Attention>(std::move(layout)), {dense(qkv)})[0];
}

}  // namespace shadow
