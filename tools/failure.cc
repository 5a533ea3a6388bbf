#include "tools/failure.h"

#include <cerrno>
#include <exception>
#include <new>
#include <system_error>

#include "lib/base/file.h"
#include "tools/process_limits.h"

namespace distmnist {

Failure failure_being_handled() {
  try {
    throw;
  } catch (const Error& error) {
    return {error.code(), error.what()};
  } catch (const std::bad_alloc&) {
    return {ExitCode::kResources, out_of_memory()};
  } catch (const std::system_error& error) {
    if (error.code() == std::errc::resource_unavailable_try_again) return {ExitCode::kResources, no_more_threads()};
    const bool of_system =
        error.code().category() == std::generic_category() || error.code().category() == std::system_category();
    const int number = of_system ? error.code().value() : 0;
    const ExitCode code = exit_code_of(number, ExitCode::kInternal);
    return {code, code == ExitCode::kResources ? errno_text(number) : error.what()};
  } catch (const std::exception& error) {
    return {ExitCode::kInternal, error.what()};
  } catch (...) {
    return {ExitCode::kInternal, "an unknown exception"};
  }
}

}  // namespace distmnist
