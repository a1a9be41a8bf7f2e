// Memory for arrays. MLX's allocator hands on the null that the system gave.
#pragma once

#include <new>
#include <utility>

#include "mlx/allocator.h"

namespace shadow {

/** Throws std::bad_alloc where the system has none. */
inline mlx::core::allocator::Data allocate(size_t bytes) {
  auto data = mlx::core::allocator::malloc(bytes);
  if (bytes > 0 && data.buffer().ptr() == nullptr) throw std::bad_alloc();
  return data;
}

}  // namespace shadow
