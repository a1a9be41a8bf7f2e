#include "parallel.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
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

class Pool {
 public:
  explicit Pool(int count) : count_(count) {
    for (int i = 1; i < count; i++) workers_.emplace_back([this] { work(); });
  }

  ~Pool() {
    stopping_ = true;
    generation_.fetch_add(1);
    generation_.notify_all();
    for (auto& worker : workers_) worker.join();
  }

  int count() const { return count_; }

  /** Runs body() on every thread and waits for all. */
  void run(const std::function<void()>& body) {
    std::lock_guard<std::mutex> one_region_at_a_time(mutex_);
    body_ = &body;
    pending_.store(count_ - 1);
    generation_.fetch_add(1);
    generation_.notify_all();
    inside_region = true;
    body();
    inside_region = false;
    // Past the usual end of a region another process has the core: let it, instead of spinning against it.
    for (int spin = 0; pending_.load(std::memory_order_acquire) != 0; spin++) {
      if (spin < 4000) relax();
      else std::this_thread::yield();
    }
  }

 private:
  void work() {
    inside_region = true;
    unsigned seen = 0;
    for (;;) {
      // The next region usually follows within microseconds; sleeping in between would cost more than it.
      for (int spin = 0; spin < 4000 && generation_.load(std::memory_order_acquire) == seen; spin++) relax();
      generation_.wait(seen);
      seen = generation_.load(std::memory_order_acquire);
      if (stopping_) return;
      (*body_)();
      pending_.fetch_sub(1, std::memory_order_release);
    }
  }

  const int count_;
  std::mutex mutex_;
  std::vector<std::thread> workers_;
  std::atomic<unsigned> generation_{0};
  std::atomic<int> pending_{0};
  std::atomic<bool> stopping_{false};
  const std::function<void()>* body_ = nullptr;
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
  std::atomic<int> next{0};
  pool()->run([&] {
    for (int i = next.fetch_add(1); i < tasks; i = next.fetch_add(1)) body(i);
  });
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
