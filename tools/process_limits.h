// What the system limits a process to, looked at before it is needed: libraries below us end the process when they
// cannot start a thread or open a file.
#pragma once

#include <string>

namespace distmnist {

// Lets this process open as many files and sockets as the system allows it.
void raise_descriptor_limit();

// Error (kResources) if `count` sockets cannot be opened in addition to the files that a process with sockets needs
// anyway (ZeroMQ's own, data, the log folder).
void require_sockets(int count);

// Error (kResources) where not so many more threads can be started.
void require_threads(int count);

// Sentences that name the limits which a thread, or memory, that was not to be had may have met.
std::string no_more_threads();
std::string out_of_memory();

}  // namespace distmnist
