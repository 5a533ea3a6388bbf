#include "lib/graph/slim.h"
#include "models/models.h"

namespace distmnist {

Graph softmax() {
  auto net = slim::Net(784);
  net.fully_connected(10, "pred", Activation::kNone);
  return net.build();
}

}  // namespace distmnist
