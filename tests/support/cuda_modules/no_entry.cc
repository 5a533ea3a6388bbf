// A shared object with the CUDA module's name but without its entry point.
extern "C" int some_other_symbol() {
  return 1;
}
