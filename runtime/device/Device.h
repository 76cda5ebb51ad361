//===- Device.h - what every device offers the engine -----------*- C++ -*-===//
// A device opens a model file once and replays its programs. It knows spaces, commands
// and kernels by their catalog names; it knows no model family and no adapter semantics.
// cpu and CUDA stand behind the same interface.
#ifndef LORAC_RUNTIME_DEVICE_DEVICE_H
#define LORAC_RUNTIME_DEVICE_DEVICE_H

#include "support/Status.h"

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace lorac {

class DeviceProfiler;
class ModelFile;

/// Values of the symbols of schemas/Symbols.def that are fixed while a model is open.
struct LoadSymbols {
  uint64_t pages = 0;
  uint64_t maxPages = 0;
  uint64_t maxItems = 0;
  uint64_t maxEntries = 0;
  uint64_t poolBytes = 0;
};
/// Values that change with each step.
struct StepSymbols {
  uint64_t rows = 0;
  uint64_t outRows = 0;
  uint64_t items = 0;
  bool adaptsHead = false; ///< some adapter of the step is on the site Model.head_site
};
/// The values of the file's symbols, in its order.
std::vector<uint64_t> symbolValues(const ModelFile &model, const LoadSymbols &load,
                                   const StepSymbols &step = {});

/// What was done since the model was opened; only grows. Tests gate on differences.
struct DeviceCounters {
  uint64_t steps = 0;
  uint64_t dispatches = 0;        ///< all kernels
  uint64_t adapterDispatches = 0; ///< kernels that exist for adapters alone (catalog)
  uint64_t barriers = 0;
  uint64_t pipelinesMade = 0;
  uint64_t pipelineCacheBytes =
      0;                       ///< that a pipeline cache on disk gave the driver; 0: there was none of use
  uint64_t allocations = 0;    ///< device memory objects
  uint64_t allocatedBytes = 0; ///< in them
  uint64_t weightBytesUploaded = 0; ///< 0 where the device reads weights where the file is mapped
  uint64_t poolBytesUploaded = 0;   ///< adapter images and directories
  uint64_t stepBytesUploaded = 0;   ///< the engine reports what it wrote with addStepBytes
  uint64_t driverNanoseconds = 0;   ///< finding and starting the driver and its device
  uint64_t uploadNanoseconds = 0;   ///< copying weights to the device
  /// Waiting for the driver to make pipelines, and reading the cache on disk: not what was done beside the
  /// copying of weights.
  uint64_t pipelineNanoseconds = 0;
  std::vector<std::pair<std::string, uint64_t>> dispatchesByKernel; ///< catalog name, count
};

/// A model open on a device. Not thread-safe: the engine serialises calls. After DeviceLost every call
/// fails with it.
class DeviceModel {
public:
  virtual ~DeviceModel() = default;

  /// Copies bytes into the adapter pool. `offset` and size multiples of 16. No step is running.
  virtual Status writePool(uint64_t offset, std::span<const uint8_t> bytes) = 0;

  /// Host memory of a Step buffer of a program, as long as its size expression says; written before run().
  /// The same memory may serve the step buffers of other programs: fill it anew for each run.
  virtual std::span<uint8_t> stepBuffer(size_t program, size_t buffer) = 0;

  /// Replays a program and waits for its end. `stepBytes` is what the caller wrote into step buffers
  /// (counted).
  virtual Status run(size_t program, const StepSymbols &symbols, uint64_t stepBytes) = 0;

  /// Host view of an Out buffer after run(): f32, rows `row_stride` apart.
  virtual std::span<const float> outBuffer(size_t program, size_t buffer) = 0;

  virtual DeviceCounters counters() const = 0;
  /// For measuring (Profile.h); null where the device cannot be asked. Lives as long as the model is open.
  virtual DeviceProfiler *profiler() { return nullptr; }
  /// "vulkan:0 llvmpipe (LLVM 15.0.6, 256 bits), Mesa 22.3.6".
  virtual std::string description() const = 0;
};

/// `auto`, `vulkan`, `vulkan:1`, each with `,deny=FEATURE` (schemas/Features.def, `hostvisible`: weights
/// go through staging buffers, or `chains`: each dispatch by itself) any number of times.
struct DeviceSpec {
  std::string kind = "auto";
  int index = -1; ///< -1: the first that fits
  std::vector<std::string> denied;
  /// InvalidArgument names what is wrong and lists what exists.
  static Result<DeviceSpec> parse(const std::string &text);
};

/// One line of `lorac devices`.
struct DeviceInfo {
  std::string kind; ///< "vulkan"
  int index = 0;
  std::string name;
  std::string driver;
  std::vector<std::string> features; ///< names of schemas/Features.def
  uint64_t memoryBytes = 0;
  uint32_t subgroupSize = 0;
};

/// Every device that Lorac could open. An absent Vulkan loader gives none; `why` then says so.
std::vector<DeviceInfo> listDevices(std::string *why = nullptr);

/// What an open device may keep outside itself, and what it may do at once.
struct DeviceOptions {
  /// A folder that keeps compiled pipelines between processes, a file a device and driver; made where it is
  /// missing, when the first model closes. Empty: nothing is kept. The file is a hint: what is corrupt, of
  /// another driver or cannot be read or written is as if there were none. It holds code for the device:
  /// whoever can write to the folder can as well change the program.
  std::string pipelineCache;
  /// Programs that will run, and how many times at most: their pipelines are made at once, beside the copying
  /// of weights if there is any, where that takes no turn of the device's queue; what would pay only after
  /// more runs is not made. What is not named here, or not made then, is made when it first runs.
  std::map<size_t, uint64_t> programs;
};

/// Opens `model` on the device of `spec`: picks a variant for each kernel (the first that the device
/// satisfies; none is Incompatible, naming kernel and feature), checks peak memory, uploads weights (or has
/// the device read them where the file is mapped), allocates the spaces. Pipelines are made when a program
/// first runs, or as DeviceOptions has it. DeviceUnavailable where no device fits. `model` must outlive the
/// result. With `auto`, or without an index, the devices are tried in the order discrete, integrated,
/// virtual, CPU, until one opens. With LORAC_VULKAN_VALIDATION=1 in the environment, Vulkan runs under
/// VK_LAYER_KHRONOS_validation (DeviceUnavailable where it is not installed), and what it warns of fails the
/// call with Internal.
Result<std::unique_ptr<DeviceModel>> openDevice(const DeviceSpec &spec, const ModelFile &model,
                                                const LoadSymbols &symbols,
                                                const DeviceOptions &options = {});

} // namespace lorac

#endif // LORAC_RUNTIME_DEVICE_DEVICE_H
