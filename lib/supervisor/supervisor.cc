#include "lib/supervisor/supervisor.h"

#include <algorithm>
#include <utility>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/graph/initializers.h"
#include "lib/supervisor/checkpoint.h"
#include "lib/supervisor/safetensors_header.h"

namespace distmnist {

Supervisor::Supervisor(SupervisorConfig config, const Graph& graph, ParameterSession& session, const RunFolder* folder)
    : config_(std::move(config)), graph_(graph), session_(session), folder_(folder), last_save_ms_(monotonic_ms()) {}

SessionInfo Supervisor::prepare() {
  SessionInfo info = session_.open();
  if (info.chief) {
    lead();
  } else {
    follow();
  }
  was_opened_ = true;
  if (info.has_model) {
    log_info("the model is ready at global_step {}", info.global_step);
    return info;
  }
  const StoredModel model = initial_model();
  session_.create(model);
  info.has_model = true;
  info.global_step = model.global_step;
  return info;
}

bool Supervisor::can_lead(bool was_there) {
  if (config_.log_dir.empty()) return false;
  if (holds_log_dir()) return true;
  try {
    if (!was_there && list_checkpoints(config_.log_dir).empty()) return false;
    chief_folder_.emplace(config_.log_dir, false);
    return true;
  } catch (const Error& error) {
    if (!std::exchange(cannot_lead_, true)) log_warning("this worker cannot become the chief: {}", error.what());
    return false;
  }
}

bool Supervisor::holds_log_dir() const {
  return chief_folder_ || (folder_ != nullptr && folder_->path() == config_.log_dir);
}

void Supervisor::lead() {
  if (std::exchange(leads_, true) || config_.log_dir.empty()) return;
  if (!holds_log_dir()) chief_folder_.emplace(config_.log_dir, false);
  background_ = std::make_unique<BackgroundSaver>(Saver(config_.log_dir, config_.max_to_keep), config_.limits,
                                                  config_.stop_requested);
  last_save_ms_ = monotonic_ms();
  if (was_opened_) log_warning("this worker is the chief now, and saves in {}", config_.log_dir.string());
}

void Supervisor::follow() {
  if (std::exchange(leads_, false)) log_warning("another worker has become the chief; this one saves nothing any more");
  background_.reset();
  chief_folder_.reset();
}

void Supervisor::keep_config() const {
  if (folder_ != nullptr) folder_->write_config(config_.config);
}

StoredModel Supervisor::initial_model() {
  if (auto restored = background_ ? background_->restore_newest(config_.identity) : std::nullopt) {
    compare_data(*restored);
    log_info("restored global_step {}", restored->global_step);
    restored_step_ = restored->global_step;
    return static_cast<StoredModel&&>(*restored);
  }
  log_info("initialised with seed {}", config_.seed);
  StoredModel model;
  model.run_id = config_.run_id;
  model.parameters.resize(static_cast<std::size_t>(graph_.num_parameters));
  initialize(graph_, config_.seed, model.parameters);
  for (const float start : slot_start_values(config_.identity.optimizer.kind)) {
    model.slots.emplace_back(model.parameters.size(), start);
  }
  return model;
}

void Supervisor::compare_data(const ModelSnapshot& restored) {
  if (!restored.data || *restored.data == config_.data) return;
  const std::string saved = fmt::format("{} ({})", printable(restored.data_source, 500), describe(*restored.data));
  const std::string here = fmt::format("{} ({})", config_.data_source, describe(config_.data));
  if (!same_shape(*restored.data, config_.data)) {
    fail(
        ExitCode::kData,
        "the checkpoint of global_step {} was trained on the data {}, but this is {}, with a different shape or "
        "different classes; give the data of that run with --data_dir, or pass --fresh to move it aside and start over",
        restored.global_step, saved, here);
  }
  if (!warned_of_data_) {
    log_warning("the checkpoint of global_step {} was trained on other data: {}; the run continues with {}",
                restored.global_step, saved, here);
  }
  warned_of_data_ = true;
}

std::optional<ModelSnapshot> Supervisor::take_snapshot() {
  std::optional<StoredModel> model = session_.snapshot();
  if (!model) return std::nullopt;
  ModelSnapshot snapshot;
  static_cast<StoredModel&>(snapshot) = std::move(*model);
  snapshot.identity = config_.identity;
  snapshot.seed = config_.seed;
  snapshot.data = config_.data;
  snapshot.data_source = config_.data_source;
  snapshot.tool_version = DISTMNIST_VERSION;
  snapshot.config = config_.config;
  // A ruined model must not push the good checkpoints out.
  if (const std::string where = not_finite_tensor(snapshot); !where.empty()) {
    fail(ExitCode::kDiverged,
         "{} is not finite at global_step {}, so the model is not saved; lower --learning_rate and resume from the "
         "newest checkpoint",
         where, snapshot.global_step);
  }
  return snapshot;
}

void Supervisor::save_if_due(TimeMs now) {
  if (!background_ || now - last_save_ms_ < config_.save_every_ms) return;
  last_save_ms_ = now;
  if (auto snapshot = take_snapshot()) return background_->submit(std::move(*snapshot));
  const TimeMs again_ms = std::min(kSnapshotAgainMs, config_.save_every_ms);
  last_save_ms_ = now - config_.save_every_ms + again_ms;
  log_warning("no checkpoint now: the ps tasks answer too slowly to copy the model at one step; trying again in {} s",
              again_ms / 1000);
}

std::optional<std::string> Supervisor::unsaved_since(std::int64_t step) const {
  if (!background_) return std::nullopt;
  const std::int64_t saved = background_->status().last_step.value_or(restored_step_);
  if (saved >= step) return std::nullopt;
  return saved < 0 ? "the newest checkpoint" : fmt::format("global_step {}", saved);
}

std::optional<Error> Supervisor::save_now() {
  if (!background_) return std::nullopt;
  PatientClock clock;
  const TimeMs began = clock.now();
  std::optional<ModelSnapshot> snapshot = take_snapshot();
  while (!snapshot) {
    const bool stops = config_.stop_requested && config_.stop_requested();
    if (clock.now() - began >= (stops ? config_.limits.disk_ms : config_.limits.recovery_wait_ms)) {
      fail(ExitCode::kLostPeer,
           "the last checkpoint is not saved: the ps tasks answer too slowly to copy the model at one step");
    }
    snapshot = take_snapshot();
  }
  if (auto error = background_->flush(); error && error->code() == ExitCode::kLostPeer) return error;
  // Nothing new since the last checkpoint that is on the disk: done.
  const std::int64_t step = snapshot->global_step;
  if (step == restored_step_ || background_->status().last_step == step) return std::nullopt;
  background_->submit(std::move(*snapshot));
  if (auto error = background_->flush()) return error;
  return background_->read_back();
}

}  // namespace distmnist
