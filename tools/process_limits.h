// Process limits: checks system limits early, because libraries that this program uses end the process if they cannot
// start a thread or open a file.
#pragma once

#include <string>

namespace distmnist {

// Raises the limit on open files and sockets to the maximum that the system allows.
void raise_descriptor_limit();

// Error (kResources) if `count` sockets cannot be opened in addition to the files that a process with sockets needs
// anyway (ZeroMQ's own, data, the log folder).
void require_sockets(int count);

// Error (kResources) if `count` more threads cannot be started.
void require_threads(int count);

// Messages with the limits that a failed thread start or memory allocation may have hit.
std::string no_more_threads();
std::string out_of_memory();

}  // namespace distmnist
