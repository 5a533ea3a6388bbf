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
    : config_(std::move(config)), graph_(graph), session_(session), folder_(folder), last_save_ms_(monotonic_ms()) {
  if (!config_.chief || folder == nullptr) return;
  saver_ = std::make_unique<Saver>(folder->path(), config_.max_to_keep);
  background_ = std::make_unique<BackgroundSaver>(*saver_);
}

SessionInfo Supervisor::prepare() {
  SessionInfo info = session_.open();
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

void Supervisor::keep_config() const {
  if (folder_ != nullptr) folder_->write_config(config_.config);
}

StoredModel Supervisor::initial_model() {
  if (background_) background_->flush();  // After a lost session what was last submitted may be what is restored.
  if (auto restored = saver_ ? saver_->restore_newest(config_.identity) : std::nullopt) {
    compare_data(*restored);
    log_info("restored global_step {}", restored->global_step);
    restored_step_ = restored->global_step;
    return static_cast<StoredModel&&>(*restored);
  }
  log_info("initialised with seed {}", config_.seed);
  StoredModel model;
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

ModelSnapshot Supervisor::take_snapshot() {
  ModelSnapshot snapshot;
  static_cast<StoredModel&>(snapshot) = session_.snapshot();
  snapshot.identity = config_.identity;
  snapshot.run_id = config_.run_id;
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
  background_->submit(take_snapshot());
}

std::optional<Error> Supervisor::save_now() {
  if (!background_) return std::nullopt;
  ModelSnapshot snapshot = take_snapshot();
  background_->flush();
  // Nothing new since the last checkpoint that is on the disk: done.
  const std::int64_t step = snapshot.global_step;
  if (step == restored_step_ || background_->status().last_step == step) return std::nullopt;
  background_->submit(std::move(snapshot));
  return background_->flush();
}

}  // namespace distmnist
