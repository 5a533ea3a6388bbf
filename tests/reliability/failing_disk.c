// Loaded in front of the C library: while the file $FAIL_WHILE exists, the call $FAIL_CALL (write or fsync) on a
// temporary file of a checkpoint fails with an I/O error, as on a broken disk.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(const char* call, int fd) {
  const char* trigger = getenv("FAIL_WHILE");
  const char* failing = getenv("FAIL_CALL");
  if (trigger == NULL || failing == NULL || strcmp(call, failing) != 0 || access(trigger, F_OK) != 0) return 0;
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t size = readlink(link, path, sizeof path - 1);
  if (size <= 0) return 0;
  path[size] = 0;
  return strstr(path, "/.distmnist-tmp-") != NULL;
}

ssize_t write(int fd, const void* bytes, size_t size) {
  static ssize_t (*next)(int, const void*, size_t);
  if (next == NULL) next = (ssize_t(*)(int, const void*, size_t))dlsym(RTLD_NEXT, "write");
  if (fails("write", fd)) {
    errno = EIO;
    return -1;
  }
  return next(fd, bytes, size);
}

int fsync(int fd) {
  static int (*next)(int);
  if (next == NULL) next = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  if (fails("fsync", fd)) {
    errno = EIO;
    return -1;
  }
  return next(fd);
}
