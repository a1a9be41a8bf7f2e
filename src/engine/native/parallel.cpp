#include "parallel.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

extern "C" {
void scipy_openblas_set_num_threads(int);
}

namespace shadow {
namespace {

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

thread_local bool inside_region = false;

/**
 * A region's tasks are claimed one by one, by the caller too, and it ends when the last of them is done. A worker that
 * the system has not let run yet is not waited for: on a busy machine the caller does its share as well.
 */
class Pool {
 public:
  explicit Pool(int count) : count_(count) {
    for (int i = 1; i < count; i++) workers_.emplace_back([this] { work(); });
  }

  ~Pool() {
    stopping_ = true;
    open(0);
    for (auto& worker : workers_) worker.join();
  }

  int count() const { return count_; }

  /** Calls body(task) for each task in [0, tasks) and waits for all. */
  void run(int tasks, const std::function<void(int)>& body) {
    std::lock_guard<std::mutex> one_region_at_a_time(mutex_);
    body_ = &body;
    tasks_ = tasks;
    done_.store(0, std::memory_order_relaxed);
    open(tasks);
    inside_region = true;
    while (take_one()) {
    }
    inside_region = false;
    // Past the usual end of a task another process has the core: let it, instead of spinning against it.
    for (int spin = 0; done_.load(std::memory_order_acquire) != tasks; spin++) {
      if (spin < 4000) relax();
      else std::this_thread::yield();
    }
  }

 private:
  /** The high half of the state counts regions, so that it changes with each; the low half, the tasks not claimed. */
  void open(int tasks) {
    const uint64_t region = (state_.load(std::memory_order_relaxed) >> 32) + 1;
    state_.store(region << 32 | static_cast<uint32_t>(tasks), std::memory_order_release);
    // Waited for in the place of the state, because the system waits for 32 bits.
    opened_.fetch_add(1, std::memory_order_release);
    opened_.notify_all();
  }

  /** False when there is nothing to claim. What a region holds is read after a claim: it cannot end before that task. */
  bool take_one() {
    uint64_t state = state_.load(std::memory_order_acquire);
    do {
      if (static_cast<uint32_t>(state) == 0) return false;
    } while (!state_.compare_exchange_weak(state, state - 1, std::memory_order_acq_rel, std::memory_order_acquire));
    (*body_)(tasks_ - static_cast<int>(static_cast<uint32_t>(state)));
    done_.fetch_add(1, std::memory_order_release);
    return true;
  }

  void work() {
    inside_region = true;
    while (!stopping_) {
      const unsigned seen = opened_.load(std::memory_order_acquire);
      if (take_one()) continue;
      // The next region usually follows within microseconds; sleeping in between would cost more than it.
      for (int spin = 0; spin < 4000 && opened_.load(std::memory_order_acquire) == seen; spin++) relax();
      if (!stopping_) opened_.wait(seen, std::memory_order_acquire);
    }
  }

  const int count_;
  std::mutex mutex_;
  std::vector<std::thread> workers_;
  std::atomic<uint64_t> state_{0};
  std::atomic<int> done_{0};
  std::atomic<unsigned> opened_{0};
  std::atomic<bool> stopping_{false};
  const std::function<void(int)>* body_ = nullptr;
  int tasks_ = 0;
};

// Never destroyed: at process exit the workers are asleep, and joining them from a static destructor can hang.
Pool*& pool() {
  static Pool* instance = new Pool(1);
  return instance;
}

}  // namespace

int thread_count() { return pool()->count(); }

void set_thread_count(int count) {
  count = std::max(1, count);
  // blas.cpp splits products over this pool, so OpenBLAS itself stays on the thread that calls it.
  scipy_openblas_set_num_threads(1);
  if (count == pool()->count()) return;
  delete pool();
  pool() = new Pool(count);
}

void parallel_for(int tasks, const std::function<void(int)>& body) {
  if (tasks <= 0) return;
  if (tasks == 1 || inside_region || pool()->count() == 1) {
    for (int i = 0; i < tasks; i++) body(i);
    return;
  }
  pool()->run(tasks, body);
}

void parallel_ranges(long count, long grain, const std::function<void(long, long)>& body) {
  if (count <= 0) return;
  long tasks = std::min<long>((count + grain - 1) / grain, 4L * thread_count());
  long size = (count + tasks - 1) / tasks;
  parallel_for(static_cast<int>(tasks), [&](int task) {
    long begin = task * size;
    if (begin < count) body(begin, std::min(count, begin + size));
  });
}

int parts_of(int length, int size) { return rounded_up(std::max(1, (length + size - 1) / size), thread_count()); }

}  // namespace shadow
