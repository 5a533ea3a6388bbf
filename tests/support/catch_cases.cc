// The line "cases: N passed, N failed, N skipped" that every unit test prints for tests/run.sh.
#if !__has_include(<catch2/catch_all.hpp>)
#define CATCH_CONFIG_EXTERNAL_INTERFACES
#endif
#include "tests/support/catch.h"

#include <iostream>
#include <utility>

namespace distmnist {
namespace {

bool this_case_is_skipped = false;

#if __has_include(<catch2/catch_all.hpp>)
using Listener = Catch::EventListenerBase;
#else
using Listener = Catch::TestEventListenerBase;
#endif

class CaseCounter : public Listener {
 public:
  using Listener::Listener;

  void testCaseEnded(const Catch::TestCaseStats& stats) override {
    const bool skipped = std::exchange(this_case_is_skipped, false);
    (stats.totals.testCases.failed > 0 ? failed_ : skipped ? skipped_ : passed_) += 1;
    Listener::testCaseEnded(stats);
  }
  void testRunEnded(const Catch::TestRunStats& stats) override {
    std::cout << "cases: " << passed_ << " passed, " << failed_ << " failed, " << skipped_ << " skipped" << std::endl;
    Listener::testRunEnded(stats);
  }

 private:
  int passed_ = 0, failed_ = 0, skipped_ = 0;
};

CATCH_REGISTER_LISTENER(CaseCounter)

}  // namespace

void note_skipped_case(const std::string& reason) {
  this_case_is_skipped = true;
  std::cout << "skipped case: " << Catch::getResultCapture().getCurrentTestName() << ": " << reason << std::endl;
}

}  // namespace distmnist
