#include "lib/worker/device_placement.h"

#include <algorithm>

#include "lib/graph/slim.h"
#include "models/models.h"
#include "tests/support/catch.h"

using namespace distmnist;

namespace {

using Lines = std::vector<std::string>;

const DeviceSpec kLocal = parse_device("/job:localhost/replica:0/task:0/device:CPU:0");
const DeviceSpec kGpuOfWorker1 = parse_device("/job:worker/replica:0/task:1/device:GPU:0");

PlacementPlan plan_of(const Graph& graph, int num_ps, PlacementPolicy policy) {
  std::vector<NamedRange> variables;
  for (const Variable& variable : graph.variables) variables.push_back({variable.name, variable.range});
  return place(variables, num_ps, policy);
}

// The lines without devices.
Lines operations(const Graph& graph) {
  Lines names;
  for (const std::string& line : device_placement(graph, {kLocal}, {})) {
    names.push_back(line.substr(0, line.rfind(": ")));
  }
  return names;
}

bool has(const Lines& lines, const std::string& line) {
  return std::ranges::find(lines, line) != lines.end();
}

}  // namespace

TEST_CASE("a local run places everything on its device, and global_step on the host") {
  const std::string device = "/job:localhost/replica:0/task:0/device:";
  CHECK(device_placement(softmax(), {parse_device(device + "GPU:1")}, {}) ==
        Lines{"global_step: (VariableV2): " + device + "CPU:0", "pred/weights: (VariableV2): " + device + "GPU:1",
              "pred/biases: (VariableV2): " + device + "GPU:1", "pred/MatMul: (MatMul): " + device + "GPU:1",
              "pred/BiasAdd: (BiasAdd): " + device + "GPU:1",
              "loss/SparseSoftmaxCrossEntropyWithLogits: (SparseSoftmaxCrossEntropyWithLogits): " + device + "GPU:1",
              "gradients/loss/SparseSoftmaxCrossEntropyWithLogits_grad/Mul: (Mul): " + device + "GPU:1",
              "gradients/pred/BiasAdd_grad/BiasAddGrad: (BiasAddGrad): " + device + "GPU:1",
              "gradients/pred/MatMul_grad/MatMul_1: (MatMul): " + device + "GPU:1"});
}

TEST_CASE("every layer of the convolutional network and its gradient has its operations") {
  const Lines names = operations(mnist_cnn());
  const Lines forward = {"conv1/Conv2D: (Conv2D)",
                         "conv1/BiasAdd: (BiasAdd)",
                         "conv1/Relu: (Relu)",
                         "pool1/MaxPool: (MaxPool)",
                         "conv2/Conv2D: (Conv2D)",
                         "conv2/BiasAdd: (BiasAdd)",
                         "conv2/Relu: (Relu)",
                         "pool2/MaxPool: (MaxPool)",
                         "flatten/Reshape: (Reshape)",
                         "fully_connected/MatMul: (MatMul)",
                         "fully_connected/BiasAdd: (BiasAdd)",
                         "fully_connected/Relu: (Relu)"};
  const std::size_t variables = 1 + 8;
  REQUIRE(names.size() > variables + forward.size());
  CHECK(std::equal(forward.begin(), forward.end(), names.begin() + variables));
  const Lines backward = {"gradients/fully_connected/MatMul_grad/MatMul: (MatMul)",
                          "gradients/fully_connected/MatMul_grad/MatMul_1: (MatMul)",
                          "gradients/flatten/Reshape_grad/Reshape: (Reshape)",
                          "gradients/pool2/MaxPool_grad/MaxPoolGrad: (MaxPoolGrad)",
                          "gradients/conv2/Relu_grad/ReluGrad: (ReluGrad)",
                          "gradients/conv2/BiasAdd_grad/BiasAddGrad: (BiasAddGrad)",
                          "gradients/conv2/Conv2D_grad/Conv2DBackpropInput: (Conv2DBackpropInput)",
                          "gradients/conv2/Conv2D_grad/Conv2DBackpropFilter: (Conv2DBackpropFilter)",
                          "gradients/pool1/MaxPool_grad/MaxPoolGrad: (MaxPoolGrad)",
                          "gradients/conv1/Relu_grad/ReluGrad: (ReluGrad)",
                          "gradients/conv1/BiasAdd_grad/BiasAddGrad: (BiasAddGrad)",
                          "gradients/conv1/Conv2D_grad/Conv2DBackpropFilter: (Conv2DBackpropFilter)"};
  CHECK(Lines(names.end() - std::ssize(backward), names.end()) == backward);
}

TEST_CASE("the other layers have operations, and layers before the first variable have no gradient") {
  auto net = slim::Net(16);
  net.reshape(4, 4, 1).avg_pool2d({2, 2}, "first").conv2d(2, {1, 1}, "conv").avg_pool2d({2, 2}, "pool");
  net.dropout(0.5f, "dropout").relu("relu").flatten("flat").fully_connected(3, "pred", Activation::kNone);
  const Lines names = operations(net.build());
  for (const char* name : {"first/AvgPool: (AvgPool)", "dropout/RandomUniform: (RandomUniform)", "dropout/Mul: (Mul)",
                           "relu/Relu: (Relu)", "gradients/pool/AvgPool_grad/AvgPoolGrad: (AvgPoolGrad)",
                           "gradients/dropout/Mul_grad/Mul: (Mul)", "gradients/relu/Relu_grad/ReluGrad: (ReluGrad)"}) {
    INFO(name);
    CHECK(has(names, name));
  }
  CHECK(std::ranges::none_of(names, [](const std::string& name) { return name.starts_with("gradients/first/"); }));
}

TEST_CASE("on a cluster variables are on their ps tasks, and layers on the worker's device") {
  const Graph graph = mlp();
  const Lines lines = device_placement(graph, {kGpuOfWorker1}, plan_of(graph, 2, PlacementPolicy::kRoundRobin));
  const std::string ps = "/job:ps/replica:0/task:";
  CHECK(Lines(lines.begin(), lines.begin() + 5) ==
        Lines{"global_step: (VariableV2): " + ps + "0/device:CPU:0",
              "fully_connected/weights: (VariableV2): " + ps + "1/device:CPU:0",
              "fully_connected/biases: (VariableV2): " + ps + "0/device:CPU:0",
              "pred/weights: (VariableV2): " + ps + "1/device:CPU:0",
              "pred/biases: (VariableV2): " + ps + "0/device:CPU:0"});
  CHECK(lines[5] == "fully_connected/MatMul: (MatMul): /job:worker/replica:0/task:1/device:GPU:0");
}

TEST_CASE("a split variable names all its ps tasks, one line per piece") {
  const Graph graph = mlp();
  const Lines lines = device_placement(graph, {kGpuOfWorker1}, plan_of(graph, 2, PlacementPolicy::kSplit));
  CHECK(lines[1] == "fully_connected/weights/part_0: (VariableV2): /job:ps/replica:0/task:0/device:CPU:0");
  CHECK(lines[2] == "fully_connected/weights/part_1: (VariableV2): /job:ps/replica:0/task:1/device:CPU:0");
  CHECK(lines[3] == "fully_connected/biases: (VariableV2): /job:ps/replica:0/task:1/device:CPU:0");
}

TEST_CASE("each tower has its operations, and variables occur once") {
  DeviceSpec second = kLocal;
  second.index = 1;
  const Lines lines = device_placement(softmax(), {kLocal, second}, {});
  CHECK(has(lines, "tower_0/pred/MatMul: (MatMul): /job:localhost/replica:0/task:0/device:CPU:0"));
  CHECK(has(lines, "tower_1/pred/MatMul: (MatMul): /job:localhost/replica:0/task:0/device:CPU:1"));
  CHECK(has(lines,
            "tower_1/gradients/pred/MatMul_grad/MatMul_1: (MatMul): "
            "/job:localhost/replica:0/task:0/device:CPU:1"));
  CHECK(std::ranges::count_if(lines, [](const std::string& line) { return line.find("VariableV2") != line.npos; }) ==
        3);
}
