// Loaded before a process whose disk a test makes slow: a write to the journal takes as long as the environment's
// SLOW_WRITE_MS says, as on a device that can't keep up.
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <stdio.h>

static bool is_journal(int file) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return false;
  path[length] = 0;
  return strstr(path, "capture.journal") != nullptr;
}

static void wait_for(int file) {
  const char* ms = getenv("SLOW_WRITE_MS");
  if (ms == nullptr || !is_journal(file)) return;
  const long wanted = atol(ms);
  timespec time{wanted / 1000, wanted % 1000 * 1000000};
  nanosleep(&time, nullptr);
}

extern "C" ssize_t pwrite64(int file, const void* bytes, size_t count, off64_t at) {
  static auto real = reinterpret_cast<ssize_t (*)(int, const void*, size_t, off64_t)>(dlsym(RTLD_NEXT, "pwrite64"));
  wait_for(file);
  return real(file, bytes, count, at);
}

extern "C" ssize_t pwritev64(int file, const iovec* pieces, int count, off64_t at) {
  static auto real = reinterpret_cast<ssize_t (*)(int, const iovec*, int, off64_t)>(dlsym(RTLD_NEXT, "pwritev64"));
  wait_for(file);
  return real(file, pieces, count, at);
}
