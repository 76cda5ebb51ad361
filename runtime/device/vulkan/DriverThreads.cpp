//===- DriverThreads.cpp --------------------------------------------------===//
#include "runtime/device/vulkan/DriverThreads.h"

#ifdef __linux__
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <dirent.h>
#include <memory>
#include <sched.h>
#include <string_view>
#include <sys/prctl.h>
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

/// Of a thread of this process; empty for one that is gone.
static std::string nameOf(pid_t thread) {
  const std::string path = "/proc/self/task/" + std::to_string(thread) + "/comm";
  const std::unique_ptr<std::FILE, int (*)(std::FILE *)> file(std::fopen(path.c_str(), "re"), std::fclose);
  char text[32];
  if (!file || !std::fgets(text, sizeof(text), file.get()))
    return {};
  const std::string_view line(text);
  return std::string(line.substr(0, line.find('\n')));
}

void giveWorkersCores(const std::string &name) {
  cpu_set_t allowed;
  if (::sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
    return;
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &allowed))
      cores.push_back(core);

  std::vector<pid_t> threads;
  // No iterator of the standard library's: one that finds no memory ends the process.
  const std::unique_ptr<DIR, int (*)(DIR *)> tasks(::opendir("/proc/self/task"), ::closedir);
  while (const dirent *task = tasks ? ::readdir(tasks.get()) : nullptr)
    if (const auto thread = pid_t(std::strtol(task->d_name, nullptr, 10));
        thread > 0 && nameOf(thread) == name)
      threads.push_back(thread);
  if (cores.size() < 2 || threads.size() != cores.size() + 1)
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
