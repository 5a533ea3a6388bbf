// A shared object under the CUDA module's name that is none: it lacks the entry point.
extern "C" int some_other_symbol() {
  return 1;
}
