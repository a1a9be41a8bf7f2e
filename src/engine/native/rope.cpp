// Rotary position embedding, half-split: (x1, x2) → (x1·cos − x2·sin, x2·cos + x1·sin), where x1 and x2 are
// the halves of a head, or of its first part where only a part is rotated. A rotation's transpose is the rotation back, which is the derivative.
#include <cstring>

#include "fused.h"
#include "parallel.h"
#include "primitive.h"
#include "row-kernels.h"

namespace shadow {
namespace {

class Rope : public FusedPrimitive {
 public:
  Rope(int heads, int head_dim, bool back) : heads_(heads), head_dim_(head_dim), back_(back) {}
  const char* name() const override { return "Rope"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    queue(outputs, inputs, [heads = heads_, dim = head_dim_, back = back_](auto& in, auto& out) {
      const float* x = in[0].template data<float>();
      const float* cosines = in[1].template data<float>();
      const float* sines = in[2].template data<float>();
      float* y = out[0].template data<float>();
      int c = width(in[0]);
      int half = width(in[1]);
      float sign = back ? -1.0f : 1.0f;
      parallel_ranges(rows(in[0]), 32, [&](long begin, long end) {
        for (long r = begin; r < end; r++) {
          rope_row(x + r * c, cosines + r * half, sines + r * half, half, sign, heads, dim, c, y + r * c);
        }
      });
    });
  }

  std::vector<mx::array> vjp(const std::vector<mx::array>& primals, const std::vector<mx::array>& cotangents,
                             const std::vector<int>& wanted, const std::vector<mx::array>&) override {
    require(wanted.size() == 1 && wanted[0] == 0, "rope: positions have no derivative");
    return {mx::array(primals[0].shape(), mx::float32, std::make_shared<Rope>(heads_, head_dim_, !back_),
                      {dense(cotangents[0]), primals[1], primals[2]})};
  }

 private:
  int heads_, head_dim_;
  bool back_;
};

}  // namespace

void rope_row(const float* x, const float* cosines, const float* sines, int half, float sign, int heads, int dim,
              int columns, float* y) {
  for (int h = 0; h < heads; h++) {
    const float* from = x + h * dim;
    float* to = y + h * dim;
    for (int i = 0; i < half; i++) {
      const float first = from[i], second = from[i + half], s = sign * sines[i];
      to[i] = first * cosines[i] - second * s;
      to[i + half] = second * cosines[i] + first * s;
    }
    for (int i = 2 * half; i < dim; i++) to[i] = from[i];
  }
  if (y != x) std::memcpy(y + heads * dim, x + heads * dim, sizeof(float) * (columns - heads * dim));
}

mx::array rope(const mx::array& x, const mx::array& cosines, const mx::array& sines, int heads, int head_dim) {
  require(x.ndim() == 2 && heads * head_dim <= width(x), "rope: heads do not fit the rows");
  require(cosines.shape() == sines.shape() && rows(cosines) == x.shape(0) && 2 * width(cosines) <= head_dim,
          "rope: cosines and sines are (rows, up to head_dim / 2)");
  return mx::array(x.shape(), mx::float32, std::make_shared<Rope>(heads, head_dim, false),
                   {dense(x), dense(cosines), dense(sines)});
}

}  // namespace shadow
