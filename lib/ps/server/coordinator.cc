#include "lib/ps/server/coordinator.h"

#include "lib/ps/server/async_replicas.h"
#include "lib/ps/server/sync_replicas.h"

namespace distmnist {

std::unique_ptr<Coordinator> make_coordinator(const Strategy& strategy, std::uint32_t num_workers, TimeMs now,
                                              TimeMs first_worker_ms) {
  if (strategy.sync) return std::make_unique<SyncReplicas>(strategy, num_workers, now, first_worker_ms);
  return std::make_unique<AsyncReplicas>(strategy, num_workers);
}

}  // namespace distmnist
