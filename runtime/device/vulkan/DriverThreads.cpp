//===- DriverThreads.cpp --------------------------------------------------===//
#include "runtime/device/vulkan/DriverThreads.h"

#ifdef __linux__
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sched.h>
#include <sys/prctl.h>
#include <system_error>
#include <vector>
#endif

namespace lorac::vulkan {

#ifdef __linux__

ThreadNames::ThreadNames(const char *name) {
  char own[16] = {};
  if (::prctl(PR_GET_NAME, own) == 0)
    before = own;
  ::prctl(PR_SET_NAME, name);
}

ThreadNames::~ThreadNames() { ::prctl(PR_SET_NAME, before.c_str()); }

void giveWorkersCores(const std::string &name) {
  cpu_set_t allowed;
  if (::sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
    return;
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &allowed))
      cores.push_back(core);

  std::vector<pid_t> threads;
  std::error_code error;
  for (std::filesystem::directory_iterator task("/proc/self/task", error), end; !error && task != end;
       task.increment(error)) {
    std::string of;
    std::getline(std::ifstream(task->path() / "comm"), of);
    const std::string number = task->path().filename().string();
    pid_t thread = 0;
    std::from_chars(number.data(), number.data() + number.size(), thread);
    if (of == name && thread > 0)
      threads.push_back(thread);
  }
  if (error || cores.size() < 2 || threads.size() != cores.size() + 1)
    return;
  std::sort(threads.begin(), threads.end()); // as they were made, unless numbers began anew: no harm then
  for (size_t i = 0; i < cores.size(); ++i) {
    cpu_set_t own;
    CPU_ZERO(&own);
    CPU_SET(cores[i], &own);
    (void)::sched_setaffinity(threads[i + 1], sizeof(own), &own); // what may not be is left as it was
  }
}

#else

ThreadNames::ThreadNames(const char *) {}
ThreadNames::~ThreadNames() = default;
void giveWorkersCores(const std::string &) {}

#endif

} // namespace lorac::vulkan
