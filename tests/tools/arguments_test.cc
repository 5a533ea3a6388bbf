#include "tools/arguments.h"

#include "lib/base/error.h"
#include "tests/support/catch.h"

namespace distmnist {
namespace {

using Words = std::vector<std::string>;

FlagKind kind_of(const std::string& name) {
  if (name == "--fresh") return FlagKind::kSwitch;
  if (name == "--adam_beta1") return FlagKind::kNumber;
  return name == "--log_dir" || name == "--task_index" ? FlagKind::kValue : FlagKind::kUnknown;
}

Words normal(const Words& words) {
  return normalised(words, kind_of);
}

std::string error_of(const Words& words) {
  try {
    normal(words);
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::kUsage);
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("names of flags are written with underscores, and values are not changed") {
  CHECK(normal({"--task-index=1", "--log-dir", "a-b", "--un-known=c-d", "-x", "e-f"}) ==
        Words{"--task_index=1", "--log_dir", "a-b", "--un_known=c-d", "-x", "e-f"});
  CHECK(normal({"--fresh", "--", "--log-dir"}) == Words{"--fresh", "--", "--log-dir"});
  CHECK(normal({"--log_dir=a=b"}) == Words{"--log_dir=a=b"});
}

TEST_CASE("an empty value remains empty") {
  CHECK(normal({"--log_dir=", "--fresh"}) == Words{"--log_dir", "", "--fresh"});
  CHECK(normal({"--log_dir=", "x"}) == Words{"--log_dir", "", "x"});
  CHECK(normal({"--log_dir", "", "--fresh"}) == Words{"--log_dir", "", "--fresh"});
  for (const Words& words : {Words{"--adam-beta1="}, Words{"--adam_beta1", ""}}) {
    CHECK(error_of(words) == "--adam_beta1=: the value is empty; give a number");
  }
  CHECK(normal({"--adam_beta1", "0.5"}) == Words{"--adam_beta1", "0.5"});
  CHECK(error_of({"--fresh=", "--log_dir=x"}) == "--fresh=: the value is empty; give true or false");
}

TEST_CASE("a flag is not taken as the value of the flag before it") {
  CHECK(error_of({"--log-dir", "--fresh"}) ==
        "--log_dir takes a value, but --fresh follows; for an empty value write --log_dir=");
  CHECK(normal({"--log_dir=--fresh"}) == Words{"--log_dir=--fresh"});
  CHECK(normal({"--task_index", "-1"}) == Words{"--task_index", "-1"});
  CHECK(normal({"--fresh", "--task_index=1"}) == Words{"--fresh", "--task_index=1"});
  CHECK(normal({"--log_dir"}) == Words{"--log_dir"});  // missing altogether, which the reader of the flags reports
}

TEST_CASE("a misspelled name is answered with the most similar name") {
  const Words names = {"--train_steps", "--task_index", "--log_dir", "--log_every", "--seed", "--model"};
  CHECK(nearest_name("--trian_steps", names) == "--train_steps");
  CHECK(nearest_name("--train_step", names) == "--train_steps");
  CHECK(nearest_name("--TrainSteps", names) == "--train_steps");
  CHECK(nearest_name("-log-dir", names) == "--log_dir");
  CHECK(nearest_name("logdir", names) == "--log_dir");
  CHECK(nearest_name("--sead", names) == "--seed");
  CHECK(!nearest_name("--nonsense", names));
  CHECK(!nearest_name("--x", names));
  CHECK(!nearest_name("", names));
}

TEST_CASE("a leading ~ means the home folder") {
  CHECK(expand_home("~/logs", "/home/a") == "/home/a/logs");
  CHECK(expand_home("~", "/home/a") == "/home/a");
  for (const char* path : {"~b/logs", "a/~/b", "/x", "", "~~"}) CHECK(expand_home(path, "/home/a") == path);
  CHECK(expand_home("~/logs", "") == "~/logs");
}

TEST_CASE("configuration files from other systems are read as plain text") {
  CHECK(plain_config_text("\xef\xbb\xbfseed = 3\r\nmodel = \"mlp\"\r\n") == "seed = 3\nmodel = \"mlp\"\n");
  CHECK(plain_config_text("a = \"\r\"\n") == "a = \"\r\"\n");
  CHECK(plain_config_text("") == "");
  CHECK_THROWS_AS(plain_config_text("\xff\xfes\0"), Error);
}

}  // namespace distmnist
