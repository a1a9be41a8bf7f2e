// What the fused operations share: they run on the CPU, in f32, on dense row-major arrays.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "allocate.h"
#include "mlx/array.h"
#include "mlx/backend/cpu/encoder.h"
#include "mlx/ops.h"
#include "mlx/primitives.h"
#include "mlx/stream.h"

namespace shadow {

namespace mx = mlx::core;

/**
 * While one lives, operations that its thread queues wait for those before them. Buffers are allocated when work is
 * queued, some hundred operations ahead of the work itself; without that lead less memory is held at a time. MLX's own
 * means, a limit of memory that is always passed, spins where one task is under way and takes a core from it.
 */
class ShortQueue {
 public:
  ShortQueue() { lives_ = true; }
  ~ShortQueue() { lives_ = false; }
  ShortQueue(const ShortQueue&) = delete;
  ShortQueue& operator=(const ShortQueue&) = delete;
  static bool lives() { return lives_; }

 private:
  static inline thread_local bool lives_ = false;
};

class FusedPrimitive : public mx::Primitive {
 public:
  FusedPrimitive() : mx::Primitive(mx::default_stream(mx::Device::cpu)) {}

  void eval_gpu(const std::vector<mx::array>&, std::vector<mx::array>&) override {
    throw std::runtime_error(std::string(name()) + " has no GPU kernel.");
  }

 protected:
  /** Allocates the outputs and queues the work behind what the stream has been given so far. */
  template <class Work>
  void queue(std::vector<mx::array>& outputs, const std::vector<mx::array>& inputs, Work work) {
    if (ShortQueue::lives()) mx::synchronize(stream());
    allocate_all(outputs);
    // Weak copies: the graph decides how long buffers live; a strong one would keep inputs from being freed.
    std::vector<mx::array> in;
    std::vector<mx::array> out;
    for (auto& x : inputs) in.push_back(mx::array::unsafe_weak_copy(x));
    for (auto& x : outputs) out.push_back(mx::array::unsafe_weak_copy(x));
    auto& encoder = mx::cpu::get_command_encoder(stream());
    encoder.dispatch([in = std::move(in), out = std::move(out), work = std::move(work)]() mutable { work(in, out); });
  }

 private:
  void allocate_all(std::vector<mx::array>& arrays) {
    try {
      for (auto& array : arrays) array.set_data(allocate(array.nbytes()));
    } catch (...) {
      // The graph is given up with the exception, and what is queued works on its arrays.
      mx::synchronize(stream());
      throw;
    }
  }
};

/** Whether x is known to be dense: evaluated and found so, or about to come from one of our operations. */
inline bool is_dense(const mx::array& x) {
  if (x.status() != mx::array::unscheduled) return x.flags().row_contiguous;
  return x.has_primitive() && dynamic_cast<FusedPrimitive*>(&x.primitive()) != nullptr;
}

/** A dense row-major f32 view of x; throws std::invalid_argument for another dtype. */
inline mx::array dense(const mx::array& x) {
  if (x.dtype() != mx::float32) throw std::invalid_argument("a fused operation takes float32 arrays");
  if (is_dense(x)) return x;
  return mx::contiguous(x, false, mx::default_stream(mx::Device::cpu));
}

inline mx::array dense_int(const mx::array& x) {
  if (x.dtype() != mx::int32) throw std::invalid_argument("indices are int32 arrays");
  if (is_dense(x)) return x;
  return mx::contiguous(x, false, mx::default_stream(mx::Device::cpu));
}

/** Elements of the last axis, and how many such rows there are. */
inline int width(const mx::array& x) { return x.shape(-1); }
inline int rows(const mx::array& x) { return static_cast<int>(x.size() / x.shape(-1)); }

inline void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

}  // namespace shadow
