// Loaded before a process whose disk a test makes bad: as long as there is a file of the name that READ_ONLY_WHILE
// gives, writes to its home fail as on a disk that was mounted anew to be read only; and a write to the journal takes as
// long as SLOW_WRITE_MS says, as on a device that can't keep up.
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

// Whether the write is to fail, after what it waits.
static bool fails(int file) {
  const char* home = getenv("STORE_HOME");
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  const ssize_t length = readlink(link, path, sizeof path - 1);
  if (home == nullptr || length < 0) return false;
  path[length] = 0;
  if (strncmp(path, home, strlen(home)) != 0) return false;
  const char* ms = getenv("SLOW_WRITE_MS");
  if (ms != nullptr && strstr(path, "capture.journal") != nullptr) {
    const long wanted = atol(ms);
    const timespec time{wanted / 1000, wanted % 1000 * 1000000};
    nanosleep(&time, nullptr);
  }
  const char* sign = getenv("READ_ONLY_WHILE");
  if (sign == nullptr || access(sign, F_OK) != 0) return false;
  errno = EROFS;
  return true;
}

extern "C" ssize_t pwrite64(int file, const void* bytes, size_t count, off64_t at) {
  static auto real = reinterpret_cast<ssize_t (*)(int, const void*, size_t, off64_t)>(dlsym(RTLD_NEXT, "pwrite64"));
  return fails(file) ? -1 : real(file, bytes, count, at);
}

extern "C" ssize_t pwritev64(int file, const iovec* pieces, int count, off64_t at) {
  static auto real = reinterpret_cast<ssize_t (*)(int, const iovec*, int, off64_t)>(dlsym(RTLD_NEXT, "pwritev64"));
  return fails(file) ? -1 : real(file, pieces, count, at);
}
