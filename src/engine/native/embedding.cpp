// Rows of a trained embedding matrix, and their gradient: zeros, but for the rows that were taken, which get the sum of
// what came back for them, in the order of the tokens.
#include <cstring>

#include "fused.h"
#include "parallel.h"
#include "primitive.h"

namespace shadow {
namespace {

class EmbeddingGrad : public FusedPrimitive {
 public:
  const char* name() const override { return "EmbeddingGrad"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    queue(outputs, inputs, [](auto& in, auto& out) {
      const float* dy = in[0].template data<float>();
      const int* ids = in[1].template data<int>();
      const int n = static_cast<int>(in[1].size()), h = width(in[0]);
      float* d = out[0].template data<float>();
      parallel_ranges(out[0].shape(0), 4096, [&](long begin, long end) {
        std::memset(d + begin * h, 0, sizeof(float) * (end - begin) * h);
      });
      // A task owns some columns of every row, so tokens that share a row never meet.
      parallel_ranges(h, 64, [&](long begin, long end) {
        for (int t = 0; t < n; t++)
          for (long j = begin; j < end; j++) d[(long)ids[t] * h + j] += dy[(long)t * h + j];
      });
    });
  }
};

class Embedding : public FusedPrimitive {
 public:
  const char* name() const override { return "Embedding"; }

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    queue(outputs, inputs, [](auto& in, auto& out) {
      const float* w = in[0].template data<float>();
      const int* ids = in[1].template data<int>();
      float* y = out[0].template data<float>();
      const int h = width(in[0]);
      for (size_t t = 0; t < in[1].size(); t++) std::memcpy(y + t * h, w + (long)ids[t] * h, sizeof(float) * h);
    });
  }

  std::vector<mx::array> vjp(const std::vector<mx::array>& primals, const std::vector<mx::array>& cotangents,
                             const std::vector<int>& wanted, const std::vector<mx::array>&) override {
    require(wanted.size() == 1 && wanted[0] == 0, "embedding: ids have no derivative");
    return {mx::array(primals[0].shape(), mx::float32, std::make_shared<EmbeddingGrad>(),
                      {dense(cotangents[0]), primals[1]})};
  }
};

}  // namespace

mx::array embedding(const mx::array& weight, const mx::array& ids) {
  require(weight.ndim() == 2 && ids.ndim() == 1, "embedding: weight (vocabulary, h), ids (n)");
  return mx::array({ids.shape(0), width(weight)}, mx::float32, std::make_shared<Embedding>(),
                   {dense(weight), dense_int(ids)});
}

}  // namespace shadow
