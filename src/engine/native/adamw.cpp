// The optimizer's arithmetic, outside the graph: it changes evaluated arrays in place, all in one call.
#include <cmath>
#include <cstring>

#include "fused.h"
#include "parallel.h"
#include "primitive.h"

namespace shadow {

float* in_place(mx::array& x) {
  require(x.dtype() == mx::float32 && x.status() != mx::array::unscheduled && x.flags().row_contiguous,
          "an array changed in place must be evaluated, dense and float32");
  return x.data<float>();
}

namespace {

const float* readable(const mx::array& x) { return in_place(const_cast<mx::array&>(x)); }

}  // namespace

AdamWFactors::AdamWFactors(const AdamW& o) {
  const double correction1 = 1 - std::pow(o.beta1, o.step);
  correction2 = static_cast<float>(std::sqrt(1 - std::pow(o.beta2, o.step)));
  step_size = static_cast<float>(o.learning_rate / correction1);
  keep = static_cast<float>(1 - o.learning_rate * o.weight_decay);
  beta1 = static_cast<float>(o.beta1), fresh1 = static_cast<float>(1 - o.beta1);
  beta2 = static_cast<float>(o.beta2), fresh2 = static_cast<float>(1 - o.beta2);
  eps = static_cast<float>(o.eps);
}

void adamw(std::vector<mx::array>& parameters, const std::vector<mx::array>& gradients,
           std::vector<mx::array>& first, std::vector<mx::array>& second, AdamW o, float gradient_scale) {
  const size_t n = parameters.size();
  require(gradients.size() == n && first.size() == n && second.size() == n,
          "adamw: parameters, gradients and moments must be equally many");
  const AdamWFactors f(o);
  for (size_t i = 0; i < n; i++) {
    require(gradients[i].size() == parameters[i].size() && first[i].size() == parameters[i].size() &&
                second[i].size() == parameters[i].size(),
            "adamw: a gradient or moment has another size than its parameter");
    in_place(parameters[i]), readable(gradients[i]), in_place(first[i]), in_place(second[i]);
  }
  parallel_for(static_cast<int>(n), [&](int i) {
    float* p = parameters[i].data<float>();
    const float* g = gradients[i].data<float>();
    float* m = first[i].data<float>();
    float* v = second[i].data<float>();
    const size_t size = parameters[i].size();
    const AdamWFactors own = f;  // nothing that is written can be an alias of it
    for (size_t j = 0; j < size; j++) own.apply(p[j], g[j] * gradient_scale, m[j], v[j]);
  });
}

double global_norm(const std::vector<mx::array>& arrays) {
  double total = 0;
  for (const auto& x : arrays) {
    const float* p = readable(x);
    double of_array = 0;
    for (size_t i = 0; i < x.size(); i++) of_array += static_cast<double>(p[i]) * p[i];
    total += of_array;
  }
  return std::sqrt(total);
}

void copy_in_place(std::vector<mx::array>& into, const std::vector<mx::array>& from) {
  require(into.size() == from.size(), "copyInPlace: the lists must be equally long");
  for (size_t i = 0; i < into.size(); i++)
    require(into[i].size() == from[i].size(), "copyInPlace: arrays must be equally large");
  for (size_t i = 0; i < into.size(); i++)
    std::memcpy(in_place(into[i]), readable(from[i]), sizeof(float) * from[i].size());
}

void add_in_place(std::vector<mx::array>& into, const std::vector<mx::array>& from) {
  require(into.size() == from.size(), "addInPlace: the lists must be equally long");
  for (size_t i = 0; i < into.size(); i++) {
    float* to = in_place(into[i]);
    const float* x = readable(from[i]);
    require(into[i].size() == from[i].size(), "addInPlace: arrays must be equally large");
    for (size_t j = 0; j < from[i].size(); j++) to[j] += x[j];
  }
}

}  // namespace shadow
