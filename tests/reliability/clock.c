// Loaded in front of the C library: the time of day is wrong by $CLOCK_SHIFT seconds.
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec* time) {
  const int result = (int)syscall(SYS_clock_gettime, id, time);
  const char* shift = getenv("CLOCK_SHIFT");
  if (id == CLOCK_REALTIME && shift != NULL) time->tv_sec += atol(shift);
  return result;
}
