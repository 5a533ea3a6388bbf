#include "lib/worker/batch_size_schedule.h"

#include "tests/support/catch.h"
#include "tests/support/expect_error.h"

using namespace distmnist;

namespace {

bool refused(const std::string& text, const std::string& says) {
  return fails_with(ExitCode::kUsage, "--batch_size_schedule=" + text + ": ",
                    [&] { BatchSizeSchedule::parse(text); }) &&
         fails_with(ExitCode::kUsage, says, [&] { BatchSizeSchedule::parse(text); });
}

}  // namespace

TEST_CASE("a size is valid from its step until the step before the next entry") {
  const auto schedule = BatchSizeSchedule::parse("0:50,1000:100,3000:20");
  CHECK(schedule.at(0) == 50);
  CHECK(schedule.at(999) == 50);
  CHECK(schedule.at(1000) == 100);
  CHECK(schedule.at(2999) == 100);
  CHECK(schedule.at(3000) == 20);
  CHECK(schedule.at(std::int64_t{1} << 53) == 20);
  CHECK(schedule.largest() == 100);
}

TEST_CASE("one size is a schedule of one entry") {
  const BatchSizeSchedule schedule(50);
  CHECK(schedule.at(0) == 50);
  CHECK(schedule.at(1'000'000) == 50);
  CHECK(schedule.largest() == 50);
  CHECK(schedule.to_string() == "50");
  CHECK(BatchSizeSchedule::parse("0:50").to_string() == "50");
}

TEST_CASE("a schedule is printed as it is read") {
  CHECK(BatchSizeSchedule::parse("0:50,1000:100").to_string() == "0:50,1000:100");
}

TEST_CASE("an invalid schedule is refused with the wrong part") {
  CHECK(refused("", "'' has no colon"));
  CHECK(refused("50", "'50' has no colon"));
  CHECK(refused("0:50,", "'' has no colon"));
  CHECK(refused("0:many", "'many' is not a whole number"));
  CHECK(refused("0:50 ,9:60", "'50 ' is not a whole number"));
  CHECK(refused("0:5:6", "'5:6' is not a whole number"));
  CHECK(refused("0:99999999999999999999", "is not a whole number"));
  CHECK(refused("10:50", "starts at global_step 10, not at 0"));
  CHECK(refused("0:50,100:60,100:70", "global_step 100 comes after 100"));
  CHECK(refused("0:50,100:60,20:70", "global_step 20 comes after 100"));
  CHECK(refused("0:0", "1 to 1048576 samples, not 0"));
  CHECK(refused("0:50,5:1048577", "1 to 1048576 samples, not 1048577"));
  CHECK(BatchSizeSchedule::parse("0:1048576").largest() == 1048576);
}

TEST_CASE("the steps of a number of passes are counted in the batches of the schedule") {
  CHECK(steps_of_epochs(0, 60'000, BatchSizeSchedule(50)) == 0);
  CHECK(steps_of_epochs(1, 60'000, BatchSizeSchedule(50)) == 1200);
  CHECK(steps_of_epochs(2.5, 60'000, BatchSizeSchedule(50)) == 3000);
  CHECK(steps_of_epochs(1, 101, BatchSizeSchedule(50)) == 3);
  CHECK(steps_of_epochs(0.07, 100, BatchSizeSchedule(1)) == 7);
  // 10 steps of 5, then 10 of 10: 150 samples, then batches of 50.
  const auto schedule = BatchSizeSchedule::parse("0:5,10:10,20:50");
  CHECK(steps_of_epochs(1, 50, schedule) == 10);
  CHECK(steps_of_epochs(1, 51, schedule) == 11);
  CHECK(steps_of_epochs(1, 150, schedule) == 20);
  CHECK(steps_of_epochs(2, 100, schedule) == 21);
}

TEST_CASE("an endless number of passes gives endless steps without an overflow") {
  CHECK(steps_of_epochs(1e300, 60'000, BatchSizeSchedule(1)) == std::int64_t{1} << 53);
  const auto late = BatchSizeSchedule::parse("0:1048576,9000000000000000000:1");
  CHECK(steps_of_epochs(1e300, 60'000, late) == std::int64_t{1} << 33);
}

TEST_CASE("the next change is the first later step with a different size") {
  const auto schedule = BatchSizeSchedule::parse("0:5,10:10,20:50");
  CHECK(schedule.next_change(0) == 10);
  CHECK(schedule.next_change(9) == 10);
  CHECK(schedule.next_change(10) == 20);
  CHECK(schedule.next_change(20) == BatchSizeSchedule::kNoChange);
  CHECK(BatchSizeSchedule(50).next_change(0) == BatchSizeSchedule::kNoChange);
}
