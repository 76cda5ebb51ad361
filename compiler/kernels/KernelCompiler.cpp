// KernelCompiler.cpp - a kernel body under the GLSL prelude, through shaderc and SPIRV-Tools.
#include "compiler/kernels/KernelCompiler.h"

#include "compiler/kernels/Epilogue.h"
#include "compiler/kernels/KernelSources.h"
#include "schemas/Catalog.h"
#include "schemas/Chain.h"
#include "support/PackedModule.h"

#include <glslang/SPIRV/SPVRemapper.h>
#include <glslang/SPIRV/doc.h>
#include <shaderc/shaderc.hpp>
#include <spirv-tools/libspirv.hpp>
#include <spirv-tools/optimizer.hpp>

#include <regex>
#include <set>

namespace lorac {
namespace {

constexpr uint64_t featureBit(unsigned bit) { return uint64_t(1) << bit; }
enum Feature : uint64_t {
#define FEATURE(NAME, BIT, MEANING) NAME = featureBit(BIT),
#include "schemas/Features.def"
#undef FEATURE
};

/// A way to compile every kernel.
struct Form {
  const char *name;
  uint64_t features;
  bool texel;
  bool subgroup;
  uint32_t lanes = VulkanLanes;
};
constexpr Form Forms[] = {
    {"texel", Feature::texel | Feature::subgroup, true, true},
    {"storage", Feature::subgroup | Feature::storage, false, true},
    {"plain", Feature::storage, false, false},
};

std::string_view sourceOf(std::string_view name) {
  for (size_t i = 0; i < KernelSourceCount; ++i)
    if (KernelSources[i].name == name)
      return KernelSources[i].text;
  return {};
}

int64_t valueOf(const KernelRequest &request, const char *constant) {
  auto found = request.constants.find(constant);
  return found == request.constants.end() ? 0 : found->second;
}

Status refuse(const KernelRequest &request) {
  return Status(Code::InvalidArgument) << "kernel " << request.catalog << ": ";
}

/// The constants of a weight's planes must name one of the packed types.
Status checkPacked(const KernelRequest &request) {
  const int64_t weight = valueOf(request, "WEIGHT"), group = valueOf(request, "GROUP"),
                scales = valueOf(request, "HAS_SCALES"), pairs = valueOf(request, "HAS_PAIRS"),
                zero = valueOf(request, "ZERO_POINT"), nested = valueOf(request, "NESTED");
  bool known = group % 32 == 0 && zero <= pairs;
  if (weight <= 2) // f32, f16, bf16
    known = known && group == 0 && scales == 0 && pairs == 0 && nested == 0;
  else if (weight == 3) // int8
    known = known && scales == 1 && pairs == 0 && nested == 0;
  else if (weight == 4) // int4
    known = known && group != 0 && scales + pairs == 1 && nested == 0;
  else // nf4, fp4
    known = known && group != 0 && scales == 1 && pairs == 0;
  if (!known)
    return refuse(request) << "constants WEIGHT " << weight << ", GROUP " << group << ", HAS_SCALES "
                           << scales << ", HAS_PAIRS " << pairs << ", ZERO_POINT " << zero << ", NESTED "
                           << nested << " are no packed type";
  return {};
}

/// Constants against the catalog's ranges, then what the bodies ask for beyond them.
Status checkConstants(const KernelRequest &request) {
  std::span<const catalog::Constant> constants = catalog::constants(request.catalog);
  for (const catalog::Constant &constant : constants) {
    auto found = request.constants.find(std::string(constant.name));
    if (found == request.constants.end())
      return refuse(request) << "constant " << constant.name << " is missing, expected " << constant.minimum
                             << " to " << constant.maximum;
    if (found->second < constant.minimum || found->second > constant.maximum)
      return refuse(request) << "constant " << constant.name << " is " << found->second << ", expected "
                             << constant.minimum << " to " << constant.maximum;
  }
  for (const auto &[name, value] : request.constants) {
    bool known = false;
    for (const catalog::Constant &constant : constants)
      known = known || constant.name == name;
    if (!known)
      return refuse(request) << "constant " << name << " is not in the catalog";
  }
  LORAC_TRY(checkPacked(request));
  if (valueOf(request, "HEAD") % 2 != 0)
    return refuse(request) << "constant HEAD is " << valueOf(request, "HEAD") << ", expected an even number";
  if (request.catalog == "linear" && valueOf(request, "GATHERED") != 0 && valueOf(request, "ADAPTERS") == 0)
    return refuse(request) << "constant GATHERED is 1 without ADAPTERS, expected 0";
  if (request.catalog == "rms_norm" && valueOf(request, "GATHERED") != 0 && valueOf(request, "SEGMENTS") == 0)
    return refuse(request) << "constant GATHERED is 1 without SEGMENTS, expected 0";
  if (request.catalog == "linear" && valueOf(request, "T_PARTS") != 1 &&
      (valueOf(request, "ADAPTERS") == 0 || valueOf(request, "COMBINE") != 1))
    return refuse(request) << "constant T_PARTS is " << valueOf(request, "T_PARTS")
                           << ", expected 1 without ADAPTERS or with COMBINE 2";
  if (request.catalog == "attend" && valueOf(request, "SEGMENTS") != 0 && valueOf(request, "HEAD") % 32 != 0)
    return refuse(request) << "constant HEAD is " << valueOf(request, "HEAD")
                           << ", expected a multiple of 32 with SEGMENTS";
  if (request.catalog == "linear" && valueOf(request, "HEAD") != 0) {
    const int64_t tiles = valueOf(request, "TILES");
    if (valueOf(request, "HEAD") % 32 != 0 || tiles % 2 != 0 || 32 % (tiles * VulkanLanes) != 0)
      return refuse(request) << "constants HEAD " << valueOf(request, "HEAD") << " and TILES " << tiles
                             << ", expected a multiple of 32, and 2 or 4: a group must lie in one head";
    for (const char *name : {"HAS_OPERAND0", "HAS_OPERAND1", "GATHERED"})
      if (valueOf(request, name) != 0)
        return refuse(request) << "constant " << name << " is 1 with HEAD, expected 0";
    if (valueOf(request, "COMBINE") != 1 || !request.epilogue.empty())
      return refuse(request)
             << "has an epilogue, or COMBINE 2, with HEAD: q, k and v are segments of their own";
  }
  if (valueOf(request, "ADAPTERS") != 0 && 32 % (valueOf(request, "TILES") * VulkanLanes) != 0)
    return refuse(request) << "constant TILES is " << valueOf(request, "TILES")
                           << ", expected 1, 2 or 4 with ADAPTERS: a group must lie in one segment";
  return {};
}

/// Text of the EPILOGUE define; empty for a kernel without one.
Result<std::string> epilogueText(const KernelRequest &request) {
  if (request.catalog != "linear" && request.catalog != "map") {
    if (!request.epilogue.empty())
      return refuse(request) << "takes no epilogue";
    return std::string();
  }
  EpilogueInputs inputs;
  if (request.catalog == "map") {
    inputs.operand0 = true;
  } else {
    inputs.segments = unsigned(valueOf(request, "COMBINE"));
    inputs.operand0 = valueOf(request, "HAS_OPERAND0") != 0;
  }
  inputs.operand1 = valueOf(request, "HAS_OPERAND1") != 0;
  if (request.epilogue.empty() && inputs.segments == 1)
    return std::string("(s0)");
  Result<std::string> text = epilogueExpression(request.epilogue, inputs);
  if (!text)
    return refuse(request) << text.status().message();
  return text;
}

using Lines = std::vector<std::pair<std::string, std::string>>; ///< names that are defined, and their values

std::string defined(const Lines &lines) {
  std::string text;
  for (const auto &[name, value] : lines)
    text += "#define " + name + " " + value + "\n";
  return text;
}

/// What every body of this form begins with.
std::string formText(const Form &form, bool chain) {
  return "#version 450\n" +
         defined({{"LANES", std::to_string(form.lanes)},
                  {"SUBGROUP", std::to_string(form.subgroup)},
                  {"TEXEL", std::to_string(form.texel)},
                  {"IN_CHAIN", std::to_string(chain)}}) +
         std::string(sourceOf("prelude/glsl.h"));
}

/// What a body is made with: its constants and its epilogue.
Lines linesOf(const KernelRequest &request, const std::string &epilogue) {
  Lines lines;
  for (const auto &[name, value] : request.constants)
    lines.emplace_back(name, std::to_string(value));
  if (!epilogue.empty())
    lines.emplace_back("EPILOGUE(s0, s1, o0, o1)", epilogue);
  return lines;
}

/// The body, after the preludes that its constants ask for. Twice in one source, they have other names.
std::string bodyText(const KernelRequest &request, bool hasEpilogue) {
  std::string text;
  if (hasEpilogue)
    text += sourceOf("prelude/math.h");
  if (request.constants.contains("WEIGHT"))
    text += sourceOf("prelude/packed.h");
  if (valueOf(request, "SEGMENTS") != 0)
    text += sourceOf("prelude/shrink.h");
  if (valueOf(request, "HEAD") != 0)
    text += sourceOf("prelude/heads.h");
  text += "#line 1\n"; // messages then name the body's lines
  text += sourceOf(request.catalog + ".kernel");
  return text;
}

/// The passes of the optimizer's performance list that the bodies need: values out of memory, loops unrolled,
/// then arrays (whose indices are now constant) into values, and what is left folded. The full list gives
/// code of the same size for linear and attend in twice the time. Blocks are merged as soon as loops are
/// unrolled: the same code, a third of the passes' time less.
void registerPasses(spvtools::Optimizer &optimizer, bool chain) {
  optimizer.RegisterPass(spvtools::CreateStripDebugInfoPass());
  if (chain) // its bodies are functions, and those that return early are not inlined
    optimizer.RegisterPass(spvtools::CreateMergeReturnPass());
  optimizer.RegisterPass(spvtools::CreateInlineExhaustivePass())
      .RegisterPass(spvtools::CreateEliminateDeadFunctionsPass())
      .RegisterPass(spvtools::CreatePrivateToLocalPass())
      .RegisterPass(spvtools::CreateLocalSingleBlockLoadStoreElimPass())
      .RegisterPass(spvtools::CreateLocalSingleStoreElimPass())
      .RegisterPass(spvtools::CreateLocalMultiStoreElimPass())
      .RegisterPass(spvtools::CreateCCPPass())
      .RegisterPass(spvtools::CreateLoopUnrollPass(true))
      .RegisterPass(spvtools::CreateDeadBranchElimPass())
      .RegisterPass(spvtools::CreateBlockMergePass())
      .RegisterPass(spvtools::CreateSimplificationPass())
      .RegisterPass(spvtools::CreateScalarReplacementPass(0))
      .RegisterPass(spvtools::CreateLocalAccessChainConvertPass())
      .RegisterPass(spvtools::CreateLocalSingleBlockLoadStoreElimPass())
      .RegisterPass(spvtools::CreateLocalSingleStoreElimPass())
      .RegisterPass(spvtools::CreateAggressiveDCEPass())
      .RegisterPass(spvtools::CreateLocalMultiStoreElimPass())
      .RegisterPass(spvtools::CreateDeadBranchElimPass())
      .RegisterPass(spvtools::CreateSimplificationPass())
      .RegisterPass(spvtools::CreateAggressiveDCEPass())
      .RegisterPass(spvtools::CreateBlockMergePass())
      .RegisterPass(spvtools::CreateRedundancyEliminationPass())
      .RegisterPass(spvtools::CreateAggressiveDCEPass())
      .RegisterPass(spvtools::CreateCompactIdsPass());
}

/// The loops that a body marks UNROLL_LATE: the passes left them alone, drivers are to unroll them. That
/// takes lavapipe two thirds longer than reading what is unrolled (62 and 104 ms for 13 pipelines of SmolLM2,
/// on one thread), and takes this compiler, at SmolLM2 with an empty kernel cache, 5 s instead of 10 to 13.
void leaveUnrollingToDrivers(std::vector<uint32_t> &module) {
  // SPIR-V 1.3, sections 3.23 and 3.32.
  constexpr uint32_t OpLoopMerge = 246, Control = 3, Unroll = 1, DependencyInfinite = 4;
  for (size_t at = module::SpirvHeaderWords; at < module.size(); at += module[at] >> 16)
    if ((module[at] & 0xffff) == OpLoopMerge && (module[at + Control] & DependencyInfinite) != 0)
      module[at + Control] ^= DependencyInfinite | Unroll;
}

/// Gives equal types, constants and variables of different modules equal ids, by what they are (a remapper of
/// glslang's): the names that packed modules know them by (ModulePacker.h). The complaint about a module that
/// cannot be read, or nothing.
std::string giveEqualIds(std::vector<uint32_t> &module) {
  static thread_local std::string complaint;
  static const bool isReady = [] {
    spv::Parameterize(); // fills tables that all threads read
    // The remapper's own handler would end the process.
    spv::spirvbin_t::registerErrorHandler([](const std::string &text) { complaint = text; });
    return true;
  }();
  (void)isReady;
  complaint.clear();
  spv::spirvbin_t(0).remap(module, spv::spirvbin_t::MAP_ALL);
  return complaint;
}

/// Raise it with registerPasses, leaveUnrollingToDrivers, giveEqualIds or the options of compileSource.
constexpr std::string_view RecipeVersion = "4";

/// Of all that decides a module's words; LORAC_SHADER_COMPILER is the digest of the libraries that lorac is
/// linked to.
Digest recipeOf(const std::string &source) {
  Sha256 hash;
  for (std::string_view part :
       {std::string_view(LORAC_SHADER_COMPILER), RecipeVersion, std::string_view(source)}) {
    hash.update(part);
    hash.update("", 1);
  }
  return hash.finish();
}

/// The first line alone: a Status is one line.
std::string firstLine(const std::string &text) { return text.substr(0, text.find('\n')); }

/// `name` for messages.
Result<std::vector<uint32_t>> compileSource(const std::string &name, const Form &form,
                                            const std::string &source, bool chain, const KernelCache *cache) {
  Digest recipe = recipeOf(source);
  if (cache)
    if (std::optional<std::vector<uint32_t>> kept = cache->find(recipe))
      return *std::move(kept);
  auto fail = [&](const char *stage, const std::string &text) {
    return Status(Code::Internal) << "kernel " << name << ", variant " << form.name << ": " << stage << ": "
                                  << firstLine(text) << "; report it";
  };
  shaderc::CompileOptions options;
  options.SetSourceLanguage(shaderc_source_language_glsl);
  options.SetTargetEnvironment(shaderc_target_env_vulkan, shaderc_env_version_vulkan_1_1);
  options.SetTargetSpirv(shaderc_spirv_version_1_3);
  options.SetOptimizationLevel(shaderc_optimization_level_zero); // the passes below do it
  options.SetWarningsAsErrors();
  // While any compiler lives, glslang keeps its tables of built-ins; making them anew would take longer than
  // most bodies do.
  static const shaderc::Compiler tables;
  shaderc::Compiler compiler; // one a call: a compiler serves one thread
  shaderc::SpvCompilationResult compiled =
      compiler.CompileGlslToSpv(source, shaderc_compute_shader, (name + ".kernel").c_str(), options);
  if (compiled.GetCompilationStatus() != shaderc_compilation_status_success)
    return fail("GLSL", compiled.GetErrorMessage());
  std::vector<uint32_t> code(compiled.cbegin(), compiled.cend());

  std::string messages;
  auto collect = [&messages](spv_message_level_t level, const char *, const spv_position_t &,
                             const char *message) {
    if (level <= SPV_MSG_ERROR && messages.empty())
      messages = message;
  };
  spvtools::Optimizer optimizer(SPV_ENV_VULKAN_1_1);
  optimizer.SetMessageConsumer(collect);
  registerPasses(optimizer, chain);
  spvtools::OptimizerOptions optimizerOptions;
  optimizerOptions.set_run_validator(false); // the result is what counts
  std::vector<uint32_t> optimised;
  if (!optimizer.Run(code.data(), code.size(), &optimised, optimizerOptions))
    return fail("optimizer", messages);
  leaveUnrollingToDrivers(optimised);
  if (std::string complaint = giveEqualIds(optimised); !complaint.empty())
    return fail("remapper", complaint);

  spvtools::SpirvTools tools(SPV_ENV_VULKAN_1_1);
  tools.SetMessageConsumer(collect);
  if (!tools.Validate(optimised))
    return fail("validator", messages);
  if (cache)
    cache->store(recipe, optimised);
  return optimised;
}

Result<std::vector<uint32_t>> compileForm(const KernelRequest &request, const std::string &epilogue,
                                          const Form &form, const KernelCache *cache) {
  return compileSource(request.catalog, form,
                       formText(form, false) + defined(linesOf(request, epilogue)) +
                           bodyText(request, !epilogue.empty()),
                       false, cache);
}

/// What the first group of `pattern` matches in a text.
std::set<std::string> matchesIn(const std::string &text, const std::regex &pattern) {
  std::set<std::string> found;
  for (std::sregex_iterator match(text.begin(), text.end(), pattern), end; match != end; ++match)
    found.insert((*match)[1]);
  return found;
}

} // namespace

Result<std::vector<CompiledVariant>> compileVulkan(const KernelRequest &request, const KernelCache *cache,
                                                   std::string_view only) {
  if (!catalog::find(request.catalog))
    return Status(Code::NotFound) << "kernel " << request.catalog << " is not in the catalog";
  LORAC_TRY(checkConstants(request));
  LORAC_ASSIGN(std::string epilogue, epilogueText(request));
  std::vector<CompiledVariant> variants;
  for (const Form &form : Forms) {
    if (!only.empty() && only != form.name)
      continue;
    LORAC_ASSIGN(std::vector<uint32_t> spirv, compileForm(request, epilogue, form, cache));
    variants.push_back({form.name, form.features, form.texel, VulkanLanes, std::move(spirv)});
  }
  return variants;
}

Result<CompiledVariant> compileChain(std::span<const ChainLink> links, const KernelCache *cache) {
  static const std::regex declaredNames("\\n(?:FUNCTION|SHARED) \\w+ (\\w+)[(\\[]");
  static const std::regex definedNames("\\n *# *define (\\w+)");
  const Form &form = Forms[0]; // the only one that chains are run in
  std::string source = formText(form, true) + std::string(sourceOf("prelude/math.h")), main;
  uint32_t binding = 0, word = chain::parameters(uint32_t(links.size()));
  size_t waited = 0;
  for (size_t i = 0; i < links.size(); ++i) {
    const KernelRequest &request = links[i].kernel;
    LORAC_TRY(checkConstants(request));
    LORAC_ASSIGN(std::string epilogue, epilogueText(request));
    const std::string link = "link" + std::to_string(i) + "_";
    Lines lines = linesOf(request, epilogue);
    const std::string body = bodyText(request, false);
    for (const std::string &name : matchesIn(body, declaredNames))
      lines.emplace_back(name, link + name);
    lines.emplace_back("LINK", link);
    lines.emplace_back("FIRST_BINDING", std::to_string(binding));
    const std::string text = "\n" + defined(lines) + body;
    source += text;
    for (const std::string &name : matchesIn(text, definedNames))
      source += "#undef " + name + "\n";

    // All links since the last wait have to be done, since those before it were.
    if (links[i].waits)
      for (; waited < i; ++waited)
        main += "  chainWait(" + std::to_string(waited) + "u, link" + std::to_string(waited) + "_groups);\n";
    auto next = [&word] { return "chainWords[" + std::to_string(word++) + "]"; };
    main += "  uint " + link + "x = " + next() + ";\n";
    main += "  uint " + link + "groups = " + link + "x * " + next() + ";\n";
    std::string pushed;
    for (size_t push = 0; push < catalog::pushes(request.catalog).size(); ++push)
      pushed += (push == 0 ? "" : ", ") + next();
    main += "  " + link + "pushed = " + link + "Push(" + pushed + ");\n";
    main += "  CHAIN_RUN(" + std::to_string(i) + "u, " + link + "x, " + link + "groups, " + link + "body)\n";
    binding += uint32_t(catalog::bindings(request.catalog, request.constants).size());
  }
  source += defined({{"CHAIN_BINDING", std::to_string(binding)}});
  source += sourceOf("prelude/chain.h");
  source += "void main() {\n  CHAIN_VARIABLES\n" + main + "}\n";
  LORAC_ASSIGN(std::vector<uint32_t> spirv, compileSource("chain", form, source, true, cache));
  return CompiledVariant{form.name, form.features, form.texel, VulkanLanes, std::move(spirv)};
}

Result<std::vector<uint32_t>> compileRawRead(bool texel, uint32_t lanes) {
  Form form = {texel ? "texel" : "storage", 0, texel, false, lanes};
  return compileForm({"raw_read", {}, {}}, "", form, nullptr);
}

} // namespace lorac
