// One pool of threads for everything: our kernels and, through blas.cpp, the large products. No task ever waits
// for another, so a core that is taken away only delays the task on it.
#pragma once

#include <functional>

namespace shadow {

/** Threads that take part in a parallel region, the caller included. */
int thread_count();

/** Changes the number of threads. Results repeat bit for bit for one count. */
void set_thread_count(int count);

/** Calls body(task) once for each task in [0, tasks). Which thread runs a task is not fixed, so a task
 *  must own its output. Nested calls run serially. */
void parallel_for(int tasks, const std::function<void(int)>& body);

/** Splits [0, count) into ranges of at least `grain` and calls body(begin, end) for each. */
void parallel_ranges(long count, long grain, const std::function<void(long, long)>& body);

/** How many parts of about `size` to cut a side into: a multiple of the threads, so that all finish together. */
int parts_of(int length, int size);

inline int rounded_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

}  // namespace shadow
