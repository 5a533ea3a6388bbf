#include "lib/base/device_spec.h"

#include "lib/base/error.h"
#include "tests/support/catch.h"

namespace distmnist {
namespace {

std::string parse_error(std::string_view text) {
  try {
    parse_device(text);
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::kUsage);
    return error.what();
  }
  return "no error";
}

const std::string kExample = "write for example /gpu:0, /cpu:0 or /job:worker/task:1/gpu:0";

}  // namespace

TEST_CASE("the short and the long spellings of a device are read") {
  const std::pair<const char*, const char*> cases[] = {
      {"/cpu:0", "/device:CPU:0"},
      {"/gpu:1", "/device:GPU:1"},
      {"/GPU:1", "/device:GPU:1"},
      {"gpu:1", "/device:GPU:1"},
      {"/reference:0", "/device:REFERENCE:0"},
      {"/device:GPU:0", "/device:GPU:0"},
      {"/device:gpu:12", "/device:GPU:12"},
      {"/cpu", "/device:CPU:*"},
      {"/gpu:*", "/device:GPU:*"},
      {"/device:GPU", "/device:GPU:*"},
      {"/device:GPU:*", "/device:GPU:*"},
      {"/job:worker/task:2/gpu:0", "/job:worker/task:2/device:GPU:0"},
      {"/gpu:0/task:2/job:worker", "/job:worker/task:2/device:GPU:0"},
      {"/job:worker/replica:0/task:0/device:GPU:0", "/job:worker/replica:0/task:0/device:GPU:0"},
      {"/job:ps", "/job:ps"},
      {"/job:ps/task:*/cpu:0", "/job:ps/device:CPU:0"},
  };
  for (const auto& [text, canonical] : cases) {
    INFO(text);
    CHECK(parse_device(text).to_string() == canonical);
    CHECK(parse_device(canonical) == parse_device(text));
  }
}

TEST_CASE("the parts of a device are separated") {
  const DeviceSpec spec = parse_device("/job:worker/replica:1/task:2/gpu:3");
  CHECK(spec.job == "worker");
  CHECK(spec.replica == 1);
  CHECK(spec.task == 2);
  CHECK(spec.type == "GPU");
  CHECK(spec.index == 3);
}

TEST_CASE("parts that a device leaves out are taken from the defaults") {
  const DeviceSpec defaults = parse_device("/job:worker/replica:0/task:1/cpu:0");
  CHECK(parse_device("/cpu").completed_by(defaults).to_string() == "/job:worker/replica:0/task:1/device:CPU:0");
  CHECK(parse_device("/gpu:2").completed_by(defaults).to_string() == "/job:worker/replica:0/task:1/device:GPU:2");
  CHECK(parse_device("/gpu").completed_by(defaults).to_string() == "/job:worker/replica:0/task:1/device:GPU:*");
  CHECK(parse_device("/job:ps").completed_by(defaults).to_string() == "/job:ps/replica:0/task:1/device:CPU:0");
}

TEST_CASE("an invalid device is quoted with the reason and an example") {
  CHECK(parse_error("") == "'' does not name a device: " + kExample);
  CHECK(parse_error("/") == "'/' does not name a device: " + kExample);
  CHECK(parse_error("/tpu:0") == "'/tpu:0' is not a device: part 'tpu:0' is not understood; " + kExample);
  CHECK(parse_error("/device:TPU:0") == "'/device:TPU:0' is not a device: there is no device type 'TPU'; " + kExample);
  CHECK(parse_error("/gpu:x") == "'/gpu:x' is not a device: 'x' of 'gpu:x' is not a number from 0; " + kExample);
  CHECK(parse_error("/gpu:-1") == "'/gpu:-1' is not a device: '-1' of 'gpu:-1' is not a number from 0; " + kExample);
  CHECK(parse_error("/gpu:") == "'/gpu:' is not a device: '' of 'gpu:' is not a number from 0; " + kExample);
  CHECK(parse_error("/gpu:0:1") == "'/gpu:0:1' is not a device: part 'gpu:0:1' is not understood; " + kExample);
  CHECK(parse_error("/task:99999999999").find("is not a number from 0") != std::string::npos);
  CHECK(parse_error("/gpu:0/cpu:0") ==
        "'/gpu:0/cpu:0' is not a device: 'cpu:0' repeats what an earlier part has set; " + kExample);
  CHECK(parse_error("/task:0/task:1").find("'task:1' repeats") != std::string::npos);
  CHECK(parse_error("/job:a/job:b").find("'job:b' repeats") != std::string::npos);
  CHECK(parse_error("/job:").find("the job has no name") != std::string::npos);
  CHECK(parse_error("/job:worker:0").find("part 'job:worker:0' is not understood") != std::string::npos);
}

TEST_CASE("a list of devices is read, and an empty item is refused") {
  CHECK(parse_device_list("/cpu:0,gpu:1") == std::vector<DeviceSpec>{parse_device("/cpu:0"), parse_device("/gpu:1")});
  CHECK(parse_device_list("/cpu:0").size() == 1);
  for (const char* text : {"", "/cpu:0,", ",/cpu:0", "/cpu:0,tpu"}) {
    INFO(text);
    CHECK_THROWS_AS(parse_device_list(text), Error);
  }
}

}  // namespace distmnist
