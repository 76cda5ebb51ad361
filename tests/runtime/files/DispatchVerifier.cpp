// What a dispatch may reach: one edit of tinyModel() a line, and the sentence that refuses it.
#include "runtime/files/DispatchVerifier.h"

#include "runtime/files/Container.h"
#include "runtime/files/ModelFile.h"
#include "runtime/files/ModelVerifier.h"
#include "schemas/Catalog.h"
#include "schemas/Header.h"
#include "tests/runtime/files/TinyModel.h"
#include "tests/support/StatusTest.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>
#include <stdexcept>

namespace lorac {
namespace {

using namespace test;

template <typename Edit> Status edited(Edit edit) {
  TinyModel tiny = tinyModel();
  edit(tiny);
  return ModelFile::parse(tiny.bytes(), "tiny.lorac").status();
}
#define EXPECT_CORRUPT(STATUS, PART) EXPECT_STATUS(STATUS, Code::CorruptFile, PART)

template <typename List> auto &named(List &list, const std::string &name) {
  for (auto &entry : list)
    if (entry->name == name)
      return *entry;
  throw std::out_of_range(name);
}

/// One dispatch of tinyModel(), open for edits.
struct Target {
  TinyModel &tiny;
  fbs::ProgramT &program;
  fbs::KernelT &kernel;
  fbs::CommandT &command;

  void push(const std::string &name, const Terms &value) {
    const auto found = std::find(kernel.push.begin(), kernel.push.end(), name);
    command.push.at(size_t(found - kernel.push.begin())) = expr(tiny.model, value);
  }
  fbs::View &view(const std::string &role) {
    for (size_t i = 0; i < kernel.bindings.size(); ++i)
      if (kernel.bindings[i]->role == role)
        return command.views[i];
    throw std::out_of_range(role);
  }
  uint32_t bufferIndex(const std::string &name) {
    for (uint32_t i = 0; i < program.buffers.size(); ++i)
      if (program.buffers[i]->name == name)
        return i;
    throw std::out_of_range(name);
  }
};

Target target(TinyModel &tiny, const std::string &programName, const std::string &kernelName) {
  fbs::ProgramT &program = named(tiny.model.programs, programName);
  for (auto &command : program.commands)
    if (command->kind == fbs::CommandKind::Dispatch &&
        tiny.model.kernels[command->kernel]->name == kernelName)
      return {tiny, program, *tiny.model.kernels[command->kernel], *command};
  throw std::out_of_range(kernelName);
}

template <typename Edit>
Status withDispatch(const std::string &program, const std::string &kernel, Edit edit) {
  return edited([&](TinyModel &t) {
    Target found = target(t, program, kernel);
    edit(found);
  });
}
/// One push constant of the first dispatch of `kernel` set to `value`.
Status withPush(const std::string &program, const std::string &kernel, const std::string &name,
                uint64_t value) {
  return withDispatch(program, kernel, [&](Target &t) { t.push(name, constant(value)); });
}
Status withGrid(const std::string &program, const std::string &kernel, size_t axis, const Terms &value) {
  return withDispatch(program, kernel, [&](Target &t) { t.command.grid[axis] = expr(t.tiny.model, value); });
}
/// The view of one binding cut to `size` bytes.
Status withView(const std::string &program, const std::string &kernel, const std::string &role,
                uint64_t size) {
  return withDispatch(program, kernel,
                      [&](Target &t) { setSize(t.view(role), expr(t.tiny.model, constant(size))); });
}
constexpr uint64_t Huge = 0xffffffff; // what a loop would run to

// ---- all kernels
// -----------------------------------------------------------------------------------------------

TEST(Dispatch, RejectsGroupsAlongZ) {
  EXPECT_CORRUPT(withGrid("many", "norm", 2, constant(2)), "rms_norm has 2 groups along z, kernels use one");
}

TEST(Dispatch, RejectsSymbolInAShape) {
  EXPECT_CORRUPT(withDispatch("one", "norm", [](Target &t) { t.push("features", symbol("rows")); }),
                 "push constant features must hold no symbol");
}

// Kernels take loop bounds from step tables, so the runtime must have written them, and as what they are
// taken for.
TEST(Dispatch, RejectsTablesFromElsewhere) {
  const auto from = [](const std::string &kernel, const std::string &role, const std::string &buffer) {
    return withDispatch("many+", kernel, [&](Target &t) {
      setBuffer(t.view(role), t.bufferIndex(buffer));
      setSize(t.view(role), expr(t.tiny.model, constant(16)));
    });
  };
  EXPECT_CORRUPT(from("attend", "rows", "x"),
                 "takes rows from space Arena, step input None, expected Step, Rows");
  EXPECT_CORRUPT(from("attend", "rows", "out_rows"), "step input OutRows, expected Step, Rows");
  EXPECT_CORRUPT(from("attend", "pages", "x"), "expected Step, Pages");
  EXPECT_CORRUPT(from("attend", "cache", "x"), "expected Cache, None");
  EXPECT_CORRUPT(from("rope", "angles", "x"), "expected Step, Angles");
  EXPECT_CORRUPT(from("gather", "out", "rows"), "expected Step, OutRows");
  EXPECT_CORRUPT(from("linear+", "stacks", "x"), "expected Step, Stacks");
  EXPECT_CORRUPT(from("linear+", "items", "stacks"), "expected Step, Items");
  EXPECT_CORRUPT(from("linear+", "pool", "x"), "expected Pool, None");
  EXPECT_CORRUPT(from("shrink", "items", "x"), "expected Step, Items");
  EXPECT_CORRUPT(from("embed", "rows", "x"), "expected Step, Rows");
}

TEST(Dispatch, RejectsPartOfThePool) { // a directory starts at its first byte
  EXPECT_CORRUPT(withView("one+", "shrink", "pool", 256),
                 "takes pool from byte 0, 256 long, expected the whole");
  EXPECT_CORRUPT(withDispatch("one+", "linear+",
                              [](Target &t) {
                                setOffset(t.view("pool"), expr(t.tiny.model, constant(256)));
                                setSize(t.view("pool"), expr(t.tiny.model, constant(1024)));
                              }),
                 "takes pool from byte 256");
}

// ---- each kernel
// -----------------------------------------------------------------------------------------------

TEST(Dispatch, BoundsEmbed) {
  EXPECT_CORRUPT(withPush("one", "embed", "pieces", 0), "embed has pieces 0");
  EXPECT_CORRUPT(withPush("one", "embed", "pieces", 2), "reaches 64 elements of table, its view has 32");
  EXPECT_CORRUPT(withPush("one", "embed", "pieces", Huge), "has pieces 4294967295");
  EXPECT_CORRUPT(withPush("many", "embed", "y_stride", 1), "has y_stride 1, expected 2 to");
  EXPECT_CORRUPT(withPush("many", "embed", "y_stride", 3), "reaches 47 elements of y, its view has 32");
  EXPECT_CORRUPT(withGrid("one", "embed", 0, constant(2)), "has groups along x: 2, expected 0 to 1");
  EXPECT_CORRUPT(withGrid("many", "embed", 1, constant(17)), "has groups along y: 17, expected 0 to 16");
  EXPECT_CORRUPT(withView("many", "embed", "rows", 240), "reaches 16 elements of rows, its view has 15");
  EXPECT_CORRUPT(withPush("one", "embed", "table_rows", 33), "reaches 40 elements of table");
  EXPECT_CORRUPT(withPush("one", "embed", "table_rows", Huge), "elements of table");
}

TEST(Dispatch, BoundsRmsNorm) {
  EXPECT_CORRUPT(withPush("one", "norm", "features", 0), "rms_norm has features 0");
  EXPECT_CORRUPT(withPush("one", "norm", "features", Huge), "elements of x, its view has 2");
  EXPECT_CORRUPT(withView("one", "norm", "weight", 16), "reaches 2 elements of weight, its view has 1");
  EXPECT_CORRUPT(withPush("many", "norm", "x_stride", 3), "reaches 47 elements of x, its view has 32");
  EXPECT_CORRUPT(withPush("many", "norm", "y_stride", 7), "has y_stride 7, expected 8");
  EXPECT_CORRUPT(withPush("many", "norm", "y_stride", 9), "reaches 143 elements of y, its view has 128");
  EXPECT_CORRUPT(withGrid("many", "norm", 1, constant(2)), "has rows 32, expected 0 to 16");
  EXPECT_CORRUPT(withPush("one", "norm", "epsilon_bits", 0x7fc00000), "has epsilon_bits of the value nan");
  EXPECT_CORRUPT(withPush("one", "norm", "epsilon_bits", 0xbf800000), "has epsilon_bits of the value -1");
}

TEST(Dispatch, BoundsLinear) {
  EXPECT_CORRUPT(withPush("many", "linear", "rows", 17), "linear has rows 17, expected 0 to 16");
  EXPECT_CORRUPT(withPush("one", "linear", "in_features", 0), "has in_features 0");
  EXPECT_CORRUPT(withPush("one", "linear", "in_features", 9),
                 "reaches 192 elements of weight, its view has 96");
  EXPECT_CORRUPT(withPush("one", "linear", "in_features", Huge), "elements of weight, its view has 96");
  EXPECT_CORRUPT(withPush("one", "linear", "tiles", 0), "has tiles 0");
  EXPECT_CORRUPT(withPush("one", "linear", "tiles", 13), "reaches 104 elements of weight, its view has 96");
  EXPECT_CORRUPT(withPush("one", "linear", "tiles", Huge), "has tiles 4294967295");
  EXPECT_CORRUPT(withPush("one", "linear", "x_stride", 1), "has x_stride 1, expected 2");
  EXPECT_CORRUPT(withPush("many", "linear", "x_stride", 3), "reaches 48 elements of x, its view has 32");
  EXPECT_CORRUPT(withPush("one", "linear", "y_stride", 95), "has y_stride 95, expected 96");
  EXPECT_CORRUPT(withPush("many", "linear", "y_stride", 97), "elements of y, its view has 1536");
  EXPECT_CORRUPT(withGrid("one", "linear", 0, constant(4)), "has groups along x: 4, expected 0 to 3");
  EXPECT_CORRUPT(withGrid("many", "linear", 1, constant(5)), "has groups along y: 5, expected 0 to 4");
  EXPECT_CORRUPT(
      edited([](TinyModel &t) { named(named(t.model.kernels, "linear").constants, "TAIL").value = 0; }),
      "has in_features 8, without TAIL it takes multiples of 32");
}

TEST(Dispatch, BoundsTheSegmentsOfALinear) {
  EXPECT_CORRUPT(withPush("one", "linear", "segment_1", 0), "has segment_1 at tile 0 of 12");
  EXPECT_CORRUPT(withPush("one", "linear", "segment_1", 6),
                 "has segment_1 at tile 6 of 12, expected multiples of 4");
  EXPECT_CORRUPT(withPush("one", "linear", "segment_2", 4), "has segment_2 at tile 4 of 12");
  EXPECT_CORRUPT(withPush("one", "linear", "segment_1", Huge), "has segment_2 at tile 8 of 12");
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   fbs::KernelT &kernel = named(t.model.kernels, "head");
                   named(kernel.constants, "COMBINE").value = 2;
                 }),
                 "linear combines 2 segments and has 1");
  const auto combined = [](uint64_t segment, uint64_t first = 0) {
    return edited([&](TinyModel &t) {
      for (auto &program : t.model.programs) {
        Target head = target(t, program->name, "head");
        named(head.kernel.constants, "COMBINE").value = 2;
        head.push("first_tile", constant(first));
        head.push("segment_1", constant(segment));
        head.push("tiles", constant(2));
        head.command.grid[0] = expr(t.model, constant(1));
      }
    });
  };
  EXPECT_CORRUPT(combined(0), "has segment_1 at tile 0 of 2");
  EXPECT_CORRUPT(combined(4), "reaches 48 elements of weight, its view has 32");
  EXPECT_CORRUPT(combined(4, 4), "combines 2 segments from tile 4, expected 0");
}

TEST(Dispatch, BoundsOperandsAndBias) {
  const auto withOperand = [](const std::string &condition, const std::string &role, uint64_t bytes) {
    return edited([&](TinyModel &t) {
      fbs::KernelT &kernel = named(t.model.kernels, "head");
      named(kernel.constants, condition).value = 1;
      auto binding = std::make_unique<fbs::BindingT>();
      binding->role = role;
      binding->element = fbs::Element::F32;
      kernel.bindings.push_back(std::move(binding));
      for (auto &program : t.model.programs) {
        Target head = target(t, program->name, "head");
        head.command.views.emplace_back(head.bufferIndex(role == "bias" ? "embedding" : "qkv"),
                                        expr(t.model, constant(0)), expr(t.model, constant(bytes)));
      }
    });
  };
  EXPECT_CORRUPT(withOperand("HAS_BIAS", "bias", 124), "linear reaches 32 elements of bias, its view has 31");
  EXPECT_CORRUPT(withOperand("HAS_OPERAND0", "operand0", 124), "linear reaches 32 elements of operand0");
  EXPECT_CORRUPT(withOperand("HAS_OPERAND1", "operand1", 124), "linear reaches 32 elements of operand1");
}

// The joined q, k and v of tinyModel() have 32 rows each, one head of 32.
TEST(Dispatch, BoundsALinearThatRotatesHeads) {
  using Change = std::function<void(Target &)>;
  const auto withHeads = [](int64_t head, size_t frequencies, const Change &change) {
    return edited([&](TinyModel &t) {
      fbs::KernelT &kernel = named(t.model.kernels, "linear");
      named(kernel.constants, "HEAD").value = head;
      t.model.angles[0]->frequencies.assign(frequencies, 0.5);
      struct {
        const char *role, *buffer;
        fbs::Element element;
        uint64_t bytes;
      } const added[] = {{"rows", "rows", fbs::Element::U32x4, 256},
                         {"pages", "pages", fbs::Element::U32, 1024},
                         {"angles", "angles", fbs::Element::F32, 256},
                         {"cache", "cache", fbs::Element::U32, 1024}};
      for (const auto &one : added) {
        auto binding = std::make_unique<fbs::BindingT>();
        binding->role = one.role;
        binding->element = one.element;
        binding->access = one.role == std::string("cache") ? fbs::Access::Write : fbs::Access::Read;
        kernel.bindings.push_back(std::move(binding));
      }
      for (auto &program : t.model.programs) {
        named(program->buffers, "angles").size = expr(t.model, constant(program->rows_max * frequencies * 8));
        for (auto &command : program->commands) {
          if (command->kind != fbs::CommandKind::Dispatch ||
              t.model.kernels[command->kernel]->name != "linear")
            continue;
          Target found = {t, *program, kernel, *command};
          for (const auto &one : added) {
            const uint64_t bytes = std::min<uint64_t>(one.bytes, program->rows_max * 16);
            command->views.emplace_back(found.bufferIndex(one.buffer), expr(t.model, constant(0)),
                                        expr(t.model, constant(bytes)));
          }
          change(found);
        }
      }
    });
  };
  const auto pushed = [](const std::string &name, uint64_t value) -> Change {
    return [=](Target &t) { t.push(name, constant(value)); };
  };
  const Change none = [](Target &) {};
  EXPECT_CORRUPT(withHeads(48, 16, none), "linear has heads of 48 with TILES 4, expected a multiple of 32");
  EXPECT_CORRUPT(withHeads(32, 16, pushed("segment_2", Huge)),
                 "has 2 segments from tile 0, expected q, k and v from tile 0");
  EXPECT_CORRUPT(withHeads(32, 16, pushed("first_tile", 4)),
                 "has 3 segments from tile 4, expected q, k and v");
  EXPECT_CORRUPT(withHeads(64, 32, none),
                 "has q, k and v at tiles 0, 4 and 8 of 12, expected whole heads of 8 tiles");
  EXPECT_CORRUPT(withHeads(32, 16, pushed("tiles", 11)), "at tiles 0, 4 and 8 of 11, expected whole heads");
  EXPECT_CORRUPT(withHeads(32, 2, none), "rotates heads of 32 by a table of 2 frequencies");
  EXPECT_CORRUPT(withHeads(32, 16, none), "reaches 32 elements of angles, its view has 4");
  EXPECT_CORRUPT(
      withHeads(32, 16, [](Target &t) { setSize(t.view("angles"), expr(t.tiny.model, constant(128))); }),
      "elements of cache, its view has 4");
}

TEST(Dispatch, BoundsWhatAdaptersReach) {
  EXPECT_CORRUPT(withPush("one+", "linear+", "site_0", 5), "linear has site_0 5, expected 0 to 4");
  EXPECT_OK(withPush("one+", "linear+", "site_0", 4)); // the null record
  EXPECT_CORRUPT(edited([](TinyModel &t) { named(t.model.sites, "block.q").in_features = 16; }),
                 "serves site 'block.q' (16 features to 8) with 8 features");
  EXPECT_CORRUPT(withPush("one+", "linear+", "first_tile", 4),
                 "serves site 'block.v' (8 features to 4) with 8 features and 8 tiles");
  EXPECT_CORRUPT(withPush("one+", "linear+", "first_tile", Huge), "serves site 'block.v'");
  EXPECT_CORRUPT(withPush("one+", "linear+", "segment_2", 12),
                 "serves site 'block.k' (8 features to 4) with 8 features and 8 tiles");
  EXPECT_CORRUPT(withView("many+", "linear+", "stacks", 240),
                 "reaches 16 elements of stacks, its view has 15");
  EXPECT_CORRUPT(withView("many+", "linear+", "items", 16), "reaches 4096 elements of items, its view has 1");
  EXPECT_CORRUPT(withView("many+", "linear+", "t", 4096), "elements of t, its view has 256");
  EXPECT_CORRUPT(withPush("many+", "linear+", "items", Huge), "elements of items, its view has");
}

TEST(Dispatch, BoundsPartsOfT) {
  const auto parts = [](int64_t count, const std::string &segment) {
    return edited([&](TinyModel &t) {
      named(named(t.model.kernels, "linear+").constants, "T_PARTS").value = count;
      if (!segment.empty()) { // one segment of all three
        for (const char *program : {"one+", "few+", "many+"}) {
          Target found = target(t, program, "linear+");
          for (const char *name : {"segment_1", "segment_2"})
            found.push(name, constant(Huge));
          found.push("site_0", constant(4)); // the null record
        }
      }
    });
  };
  EXPECT_CORRUPT(parts(2, ""), "adds 2 parts of t with 3 segments, expected 1");
  EXPECT_OK(parts(3, "one")); // t has room for three
  EXPECT_CORRUPT(parts(4, "one"), "elements of t, its view has");
}

TEST(Dispatch, BoundsWhatRidesOnAnAttend) {
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   fbs::KernelT &kernel = named(t.model.kernels, "attend");
                   named(kernel.constants, "SEGMENTS").value = 1;
                   for (const char *role : {"stacks", "pool", "items", "t"}) {
                     auto binding = std::make_unique<fbs::BindingT>();
                     binding->role = role;
                     binding->element = role == std::string("t") ? fbs::Element::F32 : fbs::Element::U32x4;
                     binding->access = role == std::string("t") ? fbs::Access::Write : fbs::Access::Read;
                     kernel.bindings.push_back(std::move(binding));
                   }
                   std::erase_if(t.model.programs, [](const auto &program) { return !program->adapters; });
                   for (auto &program : t.model.programs) {
                     Target attend = target(t, program->name, "attend");
                     const Target source = target(t, program->name, "linear+");
                     for (const char *role : {"stacks", "pool", "items", "t"})
                       attend.command.views.push_back(Target(source).view(role));
                   }
                 }),
                 "attend shrinks heads of 4, expected a multiple of 32");
}

TEST(Dispatch, BoundsShrink) {
  EXPECT_CORRUPT(withPush("one+", "shrink", "in_features", 0), "shrink has in_features 0");
  EXPECT_CORRUPT(withPush("one+", "shrink", "in_features", Huge), "with 4294967295 features");
  EXPECT_CORRUPT(withPush("one+", "shrink", "x_stride", 1), "has x_stride 1, expected 2");
  EXPECT_CORRUPT(withPush("many+", "shrink", "x_stride", 3), "reaches 48 elements of x, its view has 32");
  EXPECT_CORRUPT(withPush("one+", "shrink", "site_0", 5), "has site_0 5, expected 0 to 4");
  EXPECT_CORRUPT(withPush("one+", "shrink", "site_0", 0x80000000), "has site_0 2147483648");
  EXPECT_CORRUPT(withGrid("one+", "shrink", 1, constant(5)), "has groups along y: 5, expected 0 to 1");
  EXPECT_CORRUPT(withGrid("one+", "shrink", 0, constant(4097)),
                 "has groups along x: 4097, expected 0 to 4096");
  EXPECT_CORRUPT(withView("one+", "shrink", "items", 16), "reaches 4096 elements of items, its view has 1");
  EXPECT_CORRUPT(withView("one+", "shrink", "t", 96), "elements of t, its view has 24");
}

TEST(Dispatch, BoundsWhatRidesOnANorm) {
  EXPECT_CORRUPT(withPush("one+", "norm+", "rows", 2), "rms_norm has rows 2, expected 0 to 1");
  EXPECT_CORRUPT(withGrid("one+", "norm+", 0, constant(4098)),
                 "has groups along x: 4098, expected 0 to 4097");
  EXPECT_CORRUPT(withGrid("one+", "norm+", 1, constant(2)), "has groups along y: 2, expected 0 to 1");
  EXPECT_CORRUPT(withPush("one+", "norm+", "features", 16),
                 "serves site 'block.q' (8 features to 8) with 16");
  EXPECT_CORRUPT(withPush("one+", "norm+", "site_2", 5), "has site_2 5, expected 0 to 4");
  EXPECT_CORRUPT(withPush("many+", "norm+", "x_stride", 3), "reaches 48 elements of x, its view has 32");
  EXPECT_CORRUPT(withView("one+", "norm+", "items", 16), "reaches 4096 elements of items, its view has 1");
  EXPECT_CORRUPT(withView("one+", "norm+", "t", 96), "reaches 98304 elements of t, its view has 24");
  EXPECT_CORRUPT(withView("one+", "norm+", "pool", 256),
                 "takes pool from byte 0, 256 long, expected the whole");
  EXPECT_CORRUPT(
      edited([](TinyModel &t) { named(named(t.model.kernels, "norm+").constants, "TAIL").value = 0; }),
      "has features 8, without TAIL it takes multiples of 32");
}

TEST(Dispatch, BoundsRope) {
  EXPECT_CORRUPT(withPush("one", "rope", "q_heads", Huge), "rope reaches");
  EXPECT_CORRUPT(withPush("one", "rope", "q_heads", 1), "has groups along x: 4, expected 0 to 3");
  EXPECT_CORRUPT(withPush("one", "rope", "kv_heads", 2), "elements of cache");
  EXPECT_CORRUPT(withPush("one", "rope", "q_column", 89), "reaches 97 elements of q, its view has 96");
  EXPECT_CORRUPT(withPush("one", "rope", "k_column", 93), "reaches 97 elements of k, its view has 96");
  EXPECT_CORRUPT(withPush("one", "rope", "v_column", Huge), "reaches 4294967299 elements of v");
  EXPECT_CORRUPT(withPush("many", "rope", "q_stride", 102), "elements of q, its view has 1536");
  EXPECT_CORRUPT(withPush("many", "rope", "k_stride", 101), "elements of k, its view has 1536");
  EXPECT_CORRUPT(withPush("many", "rope", "v_stride", 101), "elements of v, its view has 1536");
  EXPECT_CORRUPT(withPush("many", "rope", "y_stride", 63), "has y_stride 63, expected 64");
  EXPECT_CORRUPT(withPush("many", "rope", "y_stride", 65), "elements of y, its view has 1024");
  EXPECT_CORRUPT(withGrid("many", "rope", 1, constant(17)), "has groups along y: 17, expected 0 to 16");
  EXPECT_CORRUPT(withView("many", "rope", "rows", 240), "reaches 16 elements of rows");
  EXPECT_CORRUPT(withView("many", "rope", "angles", 252), "reaches 64 elements of angles, its view has 63");
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.angles[0]->frequencies = {1.0}; }),
                 "rotates heads of 4 by a table of 1 frequencies");
}

TEST(Dispatch, BoundsAttend) {
  EXPECT_CORRUPT(withPush("one", "attend", "group", 0),
                 "attend has group 0, expected a multiple of HEADS = 2");
  EXPECT_CORRUPT(withPush("one", "attend", "group", 3), "has group 3");
  EXPECT_CORRUPT(withPush("one", "attend", "group", 4), "reaches 32 elements of q, its view has 16");
  EXPECT_CORRUPT(withPush("one", "attend", "kv_heads", 0), "has groups along x: 1, expected 0 to 0");
  EXPECT_CORRUPT(withPush("one", "attend", "kv_heads", Huge), "elements of q");
  EXPECT_CORRUPT(withPush("many", "attend", "q_stride", 17), "elements of q, its view has 256");
  EXPECT_CORRUPT(withPush("many", "attend", "y_stride", 7), "has y_stride 7, expected 8");
  EXPECT_CORRUPT(withPush("many", "attend", "y_stride", 9), "elements of y, its view has 128");
  EXPECT_CORRUPT(withPush("one", "attend", "scale_bits", 0xff800000), "has scale_bits of the value -inf");
  EXPECT_CORRUPT(withGrid("one", "attend", 0, constant(2)), "has groups along x: 2, expected 0 to 1");
  EXPECT_CORRUPT(withGrid("many", "attend", 1, constant(17)), "has groups along y: 17, expected 0 to 16");
  EXPECT_CORRUPT(withView("one", "attend", "cache", 512), "reaches 32768 elements of cache, its view has 32");
  EXPECT_CORRUPT(withView("many", "attend", "rows", 240), "reaches 16 elements of rows");
}

TEST(Dispatch, BoundsGather) {
  EXPECT_CORRUPT(withPush("many", "gather", "width", 3), "gather reaches 33 elements of x, its view has 32");
  EXPECT_CORRUPT(withPush("many", "gather", "width", Huge), "elements of x");
  EXPECT_CORRUPT(withPush("many", "gather", "x_stride", 3), "reaches 47 elements of x");
  EXPECT_CORRUPT(withPush("many", "gather", "y_stride", 1), "has y_stride 1, expected 2");
  EXPECT_CORRUPT(withPush("many", "gather", "y_stride", 3), "reaches 47 elements of y");
  EXPECT_CORRUPT(withGrid("many", "gather", 0, constant(3)), "has groups along x: 3, expected 0 to 2");
  EXPECT_CORRUPT(withGrid("many", "gather", 1, constant(17)), "has groups along y: 17, expected 0 to 16");
  EXPECT_CORRUPT(withView("many", "gather", "out", 240), "reaches 16 elements of out");
}

TEST(Dispatch, BoundsMap) {
  EXPECT_CORRUPT(withPush("one", "add", "width", 9), "map reaches 9 elements of operand0, its view has 8");
  EXPECT_CORRUPT(withPush("one", "add", "width", Huge), "elements of operand0");
  EXPECT_CORRUPT(withPush("one", "add", "column0", 1), "reaches 9 elements of operand0");
  EXPECT_CORRUPT(withPush("one", "add", "column1", 1), "reaches 9 elements of operand1");
  EXPECT_CORRUPT(withPush("many", "add", "stride0", 9), "reaches 143 elements of operand0");
  EXPECT_CORRUPT(withPush("many", "add", "stride1", 9), "reaches 143 elements of operand1");
  EXPECT_CORRUPT(withPush("many", "add", "y_stride", 7), "has y_stride 7, expected 8");
  EXPECT_CORRUPT(withPush("many", "add", "y_stride", 9), "reaches 143 elements of y");
  EXPECT_CORRUPT(withGrid("one", "add", 0, constant(9)), "has groups along x: 9, expected 0 to 8");
  EXPECT_CORRUPT(withGrid("many", "add", 1, constant(17)), "has groups along y: 17, expected 0 to 16");
}

// A kernel that the catalog gains has to gain its check: without it, it would be refused as our mistake.
TEST(Dispatch, EveryCatalogKernelIsChecked) {
  const TinyModel tiny = tinyModel();
  for (const catalog::Kernel &entry : catalog::Kernels)
    EXPECT_TRUE(std::any_of(tiny.model.kernels.begin(), tiny.model.kernels.end(), [&](const auto &kernel) {
      return kernel->catalog == entry.name;
    })) << entry.name;
  EXPECT_OK(edited([](TinyModel &) {}));
}

// ---- limits that keep the checks linear
// ------------------------------------------------------------------------

TEST(ModelLimits, Names) {
  const auto withName = [](size_t size) {
    return edited([&](TinyModel &t) { t.model.sites[0]->name.assign(size, 'x'); });
  };
  EXPECT_OK(withName(container::MaxNameBytes));
  EXPECT_CORRUPT(withName(container::MaxNameBytes + 1), "among the sites has 1025 bytes, at most 1024");
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   t.model.base.back()->name.assign(container::MaxNameBytes + 1, 'x');
                   t.updateFingerprint();
                 }),
                 "among the base tensors has 1025 bytes");
}

TEST(ModelLimits, Dimensions) {
  const auto withDimensions = [](size_t count) {
    return edited([&](TinyModel &t) {
      t.model.base[0]->shape.assign(count, 1);
      t.updateFingerprint();
    });
  };
  EXPECT_OK(withDimensions(MaxDimensions));
  EXPECT_CORRUPT(withDimensions(MaxDimensions + 1), "has 9 dimensions, at most 8 are allowed");
}

TEST(ModelLimits, Frequencies) {
  const auto withFrequencies = [](size_t count) {
    return edited([&](TinyModel &t) {
      t.model.angles.push_back(std::make_unique<fbs::AngleTableT>());
      t.model.angles.back()->frequencies.assign(count, 1.0);
    });
  };
  EXPECT_OK(withFrequencies(MaxFrequencies));
  EXPECT_CORRUPT(withFrequencies(MaxFrequencies + 1), "has 257 frequencies, at most 256 are allowed");
}

TEST(ModelLimits, PushConstants) {
  const auto withNames = [](size_t count) {
    return edited([&](TinyModel &t) { t.model.kernels[0]->push.assign(count, "x"); });
  };
  EXPECT_CORRUPT(withNames(MaxPushConstants), "push constant 0 is 'x', expected pieces"); // the next check
  EXPECT_CORRUPT(withNames(MaxPushConstants + 1), "a kernel names more than 32 push constants");
}

TEST(ModelLimits, Commands) {
  const auto withBarriers = [](size_t count) {
    return edited([&](TinyModel &t) {
      auto &commands = t.model.programs[0]->commands;
      while (commands.size() < count) {
        commands.push_back(std::make_unique<fbs::CommandT>());
        commands.back()->kind = fbs::CommandKind::Barrier;
      }
    });
  };
  EXPECT_OK(withBarriers(MaxCommands));
  EXPECT_CORRUPT(withBarriers(MaxCommands + 1), "and 65537 commands, at most 65536 and 65536 are allowed");
}

TEST(ModelLimits, Buffers) {
  const auto withBuffers = [](size_t count) {
    return edited([&](TinyModel &t) {
      auto &buffers = t.model.programs[0]->buffers;
      while (buffers.size() < count) {
        buffers.push_back(std::make_unique<fbs::BufferT>());
        buffers.back()->name = std::to_string(buffers.size());
        buffers.back()->space = fbs::Space::Arena;
        buffers.back()->offset = expr(t.model, constant(0));
        buffers.back()->size = expr(t.model, constant(0));
      }
    });
  };
  EXPECT_OK(withBuffers(MaxBuffers));
  EXPECT_CORRUPT(withBuffers(MaxBuffers + 1), "has 65537 buffers and");
}

/// A model file whose metadata is made by `build`, which finishes the builder.
template <typename Build> Bytes fileOf(Build build) {
  flatbuffers::FlatBufferBuilder builder;
  build(builder);
  return bareModelFile({builder.GetBufferPointer(), builder.GetSize()});
}

// FlatBuffers' verifier walks a list of strings again for each table that shares it, and counts tables alone:
// 400 KB made it compare 2.5 billion strings.
TEST(ModelLimits, SharedNamesOfPushConstantsAreRefusedAtOnce) {
  constexpr size_t Many = 50000;
  const Bytes bytes = fileOf([&](flatbuffers::FlatBufferBuilder &builder) {
    const auto name = builder.CreateString("x");
    const auto names =
        builder.CreateVector(std::vector<flatbuffers::Offset<flatbuffers::String>>(Many, name));
    const auto bindings = builder.CreateVector(std::vector<flatbuffers::Offset<fbs::Binding>>());
    const auto variants = builder.CreateVector(std::vector<flatbuffers::Offset<fbs::Variant>>());
    fbs::KernelBuilder kernel(builder);
    kernel.add_name(name);
    kernel.add_catalog(name);
    kernel.add_bindings(bindings);
    kernel.add_push(names);
    kernel.add_variants(variants);
    const std::vector<flatbuffers::Offset<fbs::Kernel>> kernels(Many, kernel.Finish());
    const auto list = builder.CreateVector(kernels);
    const auto base = builder.CreateVector(std::vector<flatbuffers::Offset<fbs::BaseTensor>>());
    const auto segments = builder.CreateVectorOfStructs(std::vector<fbs::Segment>());
    const auto weights = builder.CreateVector(std::vector<flatbuffers::Offset<fbs::Weight>>());
    const auto sites = builder.CreateVector(std::vector<flatbuffers::Offset<fbs::Site>>());
    const auto symbols = builder.CreateVector(std::vector<flatbuffers::Offset<fbs::Symbol>>());
    const fbs::Hash hash;
    const auto start = builder.StartTable();
    builder.AddElement<uint32_t>(fbs::Model::VT_VERSION, 1, 0);
    builder.AddStruct(fbs::Model::VT_FINGERPRINT, &hash);
    builder.AddOffset(fbs::Model::VT_BASE, base);
    builder.AddOffset(fbs::Model::VT_SEGMENTS, segments);
    builder.AddOffset(fbs::Model::VT_WEIGHTS, weights);
    builder.AddOffset(fbs::Model::VT_SITES, sites);
    builder.AddOffset(fbs::Model::VT_SYMBOLS, symbols);
    builder.AddOffset(fbs::Model::VT_KERNELS, list);
    builder.Finish(flatbuffers::Offset<fbs::Model>(builder.EndTable(start)), fbs::ModelIdentifier());
  });
  EXPECT_CORRUPT(ModelFile::parse(bytes, "x").status(), "a kernel names more than 32 push constants");
}

} // namespace
} // namespace lorac
