// check(): turns the error codes of the CUDA libraries into Errors. Every call is checked.
#pragma once

#include <string_view>

#include <cublasLt.h>
#include <cuda_runtime.h>
#include <cudnn.h>

namespace distmnist::cuda {

// `tried` completes "cannot ...". Out of memory is Error (kResources), anything else kInternal, with the library's
// error message.
void check(cudaError_t status, std::string_view tried);
void check(cublasStatus_t status, std::string_view tried);
void check(cudnnStatus_t status, std::string_view tried);

}  // namespace distmnist::cuda
