#include "lib/graph/slim.h"
#include "models/models.h"

namespace distmnist {

Graph mnist_cnn() {
  auto net = slim::Net(784);
  net.reshape(28, 28, 1);
  net.conv2d(32, {5, 5}, "conv1");
  net.max_pool2d({2, 2}, "pool1");
  net.conv2d(64, {5, 5}, "conv2");
  net.max_pool2d({2, 2}, "pool2");
  net.flatten("flatten");
  net.fully_connected(500, "fully_connected");
  net.fully_connected(10, "pred", Activation::kNone);
  return net.build();
}

}  // namespace distmnist
