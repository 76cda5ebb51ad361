#include "runtime/files/ModelFile.h"

#include "runtime/files/ModelVerifier.h"
#include "schemas/Catalog.h"
#include "schemas/Header.h"
#include "support/Checked.h"
#include "tests/runtime/files/TinyModel.h"
#include "tests/support/StatusTest.h"
#include "tests/support/TempFolder.h"

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <unistd.h>

namespace lorac {
namespace {

using namespace test;

Status parse(const Bytes &bytes) { return ModelFile::parse(bytes, "tiny.lorac").status(); }

/// tinyModel() after one edit of its metadata.
template <typename Edit> Status edited(Edit edit) {
  TinyModel tiny = tinyModel();
  edit(tiny);
  return parse(tiny.bytes());
}
/// tinyModel() after one edit of its segments' records.
template <typename Edit> Status withSegments(Edit edit) { return parse(tinyModel().bytes(edit)); }
/// tinyModel()'s bytes after one edit, sealed again where asked.
template <typename Edit> Status withBytes(Edit edit, bool seal = true) {
  Bytes bytes = tinyModel().bytes();
  edit(bytes);
  if (seal)
    sealHeader(bytes);
  return parse(bytes);
}
#define EXPECT_CORRUPT(STATUS, PART) EXPECT_STATUS(STATUS, Code::CorruptFile, PART)

template <typename List> auto &named(List &list, const std::string &name) {
  for (auto &entry : list)
    if (entry->name == name)
      return *entry;
  throw std::out_of_range(name);
}
fbs::ProgramT &program(TinyModel &tiny, const std::string &name) { return named(tiny.model.programs, name); }
fbs::BufferT &buffer(TinyModel &tiny, const std::string &programName, const std::string &name) {
  return named(program(tiny, programName).buffers, name);
}
fbs::KernelT &kernel(TinyModel &tiny, const std::string &name) { return named(tiny.model.kernels, name); }
/// The first command of a program that dispatches `name`.
fbs::CommandT &dispatch(TinyModel &tiny, const std::string &programName, const std::string &name) {
  for (auto &command : program(tiny, programName).commands)
    if (command->kind == fbs::CommandKind::Dispatch && tiny.model.kernels[command->kernel]->name == name)
      return *command;
  throw std::out_of_range(name);
}
fbs::CommandT &commandOf(TinyModel &tiny, const std::string &programName, fbs::CommandKind kind) {
  for (auto &command : program(tiny, programName).commands)
    if (command->kind == kind)
      return *command;
  throw std::out_of_range(programName);
}

// ---- what loads
// ------------------------------------------------------------------------------------------------

TEST(ModelFile, LoadsTinyModels) {
  EXPECT_OK(parse(tinyModel().bytes()));
  EXPECT_OK(parse(minimalModel().bytes()));
}

TEST(ModelFile, HeaderBytesAreFixed) {
  // On purpose literal: a change of these bytes is a change of the format.
  const Bytes bytes = minimalModel().bytes();
  static const uint8_t Expected[16] = {'L', 'R', 'C', 'M', 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  EXPECT_EQ(std::memcmp(bytes.data(), Expected, sizeof(Expected)), 0);
  const auto numberAt = [&](size_t at) {
    uint64_t number = 0;
    for (size_t i = 0; i < 8; ++i)
      number |= uint64_t(bytes[at + i]) << (8 * i);
    return number;
  };
  const uint64_t offset = numberAt(16), size = numberAt(24);
  EXPECT_EQ(offset, 4096 + 512u); // the header and a segment of code, and the weights
  EXPECT_EQ(offset + size, bytes.size());
  static const uint8_t Zstandard[4] = {0x28, 0xb5, 0x2f, 0xfd}; // RFC 8878, 3.1.1
  EXPECT_EQ(std::memcmp(bytes.data() + offset, Zstandard, sizeof(Zstandard)), 0);
  Sha256 hash;
  hash.update(bytes.data(), 32);
  hash.update(bytes.data() + offset, size);
  const Digest digest = hash.finish();
  EXPECT_EQ(std::memcmp(bytes.data() + 32, digest.data(), 32), 0);
  EXPECT_EQ(std::memcmp(metadataOf(bytes).data() + 4, "LRCM", 4), 0) << "the FlatBuffer's identifier";
}

TEST(ModelFile, GivesWhatTheFileHolds) {
  TinyModel tiny = tinyModel();
  const Bytes bytes = tiny.bytes();
  auto file = ModelFile::parse(bytes, "tiny.lorac");
  ASSERT_OK(file);
  const ModelFile &model = **file;
  EXPECT_EQ(model.path(), "tiny.lorac");
  EXPECT_EQ(model.metadata().vocab_size(), 32u);
  EXPECT_EQ(std::memcmp(model.fingerprint().data(), tiny.model.fingerprint->bytes()->data(), 32), 0);
  EXPECT_EQ(model.symbolIndex("rows"), 0u);
  EXPECT_EQ(model.symbolIndex("pool_bytes"), 7u);
  ASSERT_EQ(model.segment(2).size(), 1024u);
  EXPECT_TRUE(std::equal(model.segment(2).begin(), model.segment(2).end(), tiny.segments[2].begin()));
  // [1400, 1700) of the weight space lies in both weight segments.
  Bytes whole = tiny.segments[1], seen;
  whole.insert(whole.end(), tiny.segments[2].begin(), tiny.segments[2].end());
  size_t pieces = 0;
  model.weightBytes(1400, 300, [&](std::span<const uint8_t> piece) {
    seen.insert(seen.end(), piece.begin(), piece.end());
    ++pieces;
  });
  EXPECT_EQ(pieces, 2u);
  EXPECT_EQ(seen, Bytes(whole.begin() + 1400, whole.begin() + 1700));
}

TEST(ModelFile, ShowsWeightsThatAreMappedInOnePiece) {
  const test::TempFolder folder;
  const auto mapped = [&](TinyModel &tiny) {
    const Bytes bytes = tiny.bytes();
    folder.write("model.lorac", {reinterpret_cast<const char *>(bytes.data()), bytes.size()});
    auto file = ModelFile::open(folder.path("model.lorac"));
    EXPECT_OK(file);
    const auto weights = (*file)->mappedWeights();
    return Bytes(weights.begin(), weights.end());
  };
  TinyModel tiny = tinyModel();
  EXPECT_TRUE(mapped(tiny).empty()); // zeros lie between 1536 bytes and the next segment
  tiny.segments[1].resize(4096, 7);
  tiny.model.weight_bytes = 4096 + 1024;
  const Bytes seen = mapped(tiny);
  Bytes whole = tiny.segments[1];
  whole.insert(whole.end(), tiny.segments[2].begin(), tiny.segments[2].end());
  ASSERT_GE(seen.size(), whole.size());
  EXPECT_TRUE(std::equal(whole.begin(), whole.end(), seen.begin()));
  const Bytes bytes = tiny.bytes();
  auto parsed = ModelFile::parse(bytes, "tiny.lorac"); // nobody says how long these bytes stay
  ASSERT_OK(parsed);
  EXPECT_TRUE((*parsed)->mappedWeights().empty());
}

TEST(ModelFile, OpensFromDisk) {
  const std::string path =
      std::filesystem::temp_directory_path() / ("lorac-model-" + std::to_string(getpid()) + ".lorac");
  const Bytes bytes = tinyModel().bytes();
  std::FILE *out = std::fopen(path.c_str(), "wb");
  ASSERT_NE(out, nullptr);
  ASSERT_EQ(std::fwrite(bytes.data(), 1, bytes.size(), out), bytes.size());
  std::fclose(out);
  {
    auto file = ModelFile::open(path);
    ASSERT_OK(file);
    (*file)->releaseWeights(); // pages come back from the file when they are read again
    EXPECT_EQ(sha256((*file)->segment(1)),
              sha256({bytes.data() + (*file)->metadata().segments()->Get(1)->offset(), 1536}));
  }
  std::filesystem::remove(path);
  EXPECT_STATUS(ModelFile::open(path), Code::NotFound, path);
}

// Enough bytes that several threads hash them; the message names the first of two broken segments.
TEST(ModelFile, HashesLargeFilesInParallel) {
  TinyModel tiny = tinyModel();
  for (int i = 0; i < 4; ++i) {
    tiny.segments.emplace_back((1 << 20) + 4096 * size_t(i), uint8_t(i + 1));
    tiny.model.weight_bytes += tiny.segments.back().size();
  }
  Bytes bytes = tiny.bytes();
  EXPECT_OK(parse(bytes));
  bytes[tiny.model.segments[4].offset() + 70] ^= 1;
  bytes[tiny.model.segments[6].offset() + 70] ^= 1;
  EXPECT_CORRUPT(parse(bytes), "segment 4 has SHA-256");
}

TEST(ModelFile, MessagesSayFileAndRemedyOnOneLine) {
  Status status = edited([](TinyModel &t) {
    t.model.weights[0]->name = std::string("a\nb\x01") + std::string(200, 'c'), t.model.weights[0]->rows = 0;
  });
  EXPECT_CORRUPT(status, "tiny.lorac: weight 'a\\x0ab\\x01ccc");
  EXPECT_CORRUPT(status, "...' has shape 0 x 8; fetch the file again, or build it again");
}

TEST(ModelFile, ChecksSizesForLoadSymbols) {
  const Bytes bytes = tinyModel().bytes();
  auto file = ModelFile::parse(bytes, "tiny.lorac");
  ASSERT_OK(file);
  //                              rows out items pages max_pages max_items max_entries pool_bytes
  EXPECT_OK((*file)->checkSizes(std::vector<uint64_t>{0, 0, 0, 4, 20, 64, 8, 4096, 0, 0}));
  EXPECT_OK((*file)->checkSizes(std::vector<uint64_t>{0, 0, 0, 1024, 2048, 4096, 256, 1 << 30, 0, 0}));
  EXPECT_STATUS((*file)->checkSizes(std::vector<uint64_t>{0, 0, 0, 1025, 20, 64, 8, 4096, 0, 0}),
                Code::InvalidArgument, "pages is 1025, this model allows at most 1024");
  EXPECT_STATUS((*file)->checkSizes(std::vector<uint64_t>{0, 0, 0, 4}), Code::InvalidArgument,
                "4 symbol values");
  EXPECT_CORRUPT((*file)->checkSizes(std::vector<uint64_t>{0, 0, 0, 4, 20, 64, 8, 4100, 0, 0}),
                 "has 4100 bytes, no multiple");
}

// A buffer that does not shrink with the arena fits at the maxima and not below: no single evaluation shows
// it.
TEST(ModelFile, ChecksSizesBelowTheMaxima) {
  TinyModel tiny = tinyModel();
  buffer(tiny, "one+", "t").size = expr(tiny.model, constant(4096 * 96));
  const Bytes bytes = tiny.bytes();
  auto file = ModelFile::parse(bytes, "tiny.lorac");
  ASSERT_OK(file);
  EXPECT_CORRUPT((*file)->checkSizes(std::vector<uint64_t>{0, 0, 0, 4, 20, 64, 8, 4096, 0, 0}),
                 "program 'one+': buffer 't' (offset");
}

TEST(ModelFile, ReadsBytesThatStartAnywhere) {
  const Bytes bytes = minimalModel().bytes();
  Bytes shifted(bytes.size() + 1);
  std::copy(bytes.begin(), bytes.end(), shifted.begin() + 1);
  EXPECT_OK(ModelFile::parse({shifted.data() + 1, bytes.size()}, "x"));
}

// ---- damage
// ----------------------------------------------------------------------------------------------------

TEST(ModelFile, RejectsEveryTruncation) {
  const Bytes bytes = minimalModel().bytes();
  for (size_t size = 0; size < bytes.size(); ++size) {
    const Bytes cut(bytes.begin(),
                    bytes.begin() + ptrdiff_t(size)); // its own allocation: a read past it shows
    ASSERT_EQ(parse(cut).code(), Code::CorruptFile) << size;
  }
}

TEST(ModelFile, RejectsEveryFlippedBit) {
  Bytes bytes = minimalModel().bytes();
  for (size_t i = 0; i < bytes.size(); ++i) {
    const uint8_t flip = uint8_t(1u << (i % 8));
    bytes[i] ^= flip;
    const Code code = parse(bytes).code();
    ASSERT_TRUE(code == Code::CorruptFile || (code == Code::Unsupported && i >= 4 && i < 12)) << i;
    bytes[i] ^= flip;
  }
  EXPECT_OK(parse(bytes));
}

// The digest is no defence against who can compute one. Whatever stands in the metadata, sealed again: never
// a crash, and what loads keeps its promise that the rest of the runtime need not look again.
void surviveFlips(Bytes bytes, size_t step, std::initializer_list<int> bits) {
  Bytes metadata = metadataOf(bytes);
  size_t refused = 0, loaded = 0;
  for (size_t i = 0; i < metadata.size(); i += step)
    for (int bit : bits) {
      metadata[i] ^= uint8_t(1u << bit);
      replaceMetadata(bytes, metadata);
      auto file = ModelFile::parse(bytes, "x");
      (file ? loaded : refused) += 1;
      if (file) {
        std::vector<uint64_t> maxima;
        for (const fbs::Symbol *symbol : *(*file)->metadata().symbols())
          maxima.push_back(symbol->maximum());
        ASSERT_OK((*file)->checkSizes(maxima)) << i;
      } else {
        ASSERT_TRUE(file.status().code() == Code::CorruptFile || file.status().code() == Code::Unsupported)
            << i;
      }
      metadata[i] ^= uint8_t(1u << bit);
    }
  EXPECT_GT(refused, 0u);
  EXPECT_GT(loaded, 0u); // names and provenance are free text
}

TEST(ModelFile, SurvivesFlippedBitsUnderAFreshDigest) {
  // Samples: file_sweeps sets every number of a file, fuzz_model looks for more.
  surviveFlips(minimalModel().bytes(), 4, {0, 7});
  surviveFlips(tinyModel().bytes(), 67, {0, 6});
}

TEST(ModelFile, RejectsTrailingBytes) {
  EXPECT_CORRUPT(withBytes([](Bytes &b) { b.push_back(0); }), "its metadata ends at");
}

// ---- header
// ----------------------------------------------------------------------------------------------------

TEST(ModelFile, RejectsShortHeader) {
  EXPECT_CORRUPT(parse(Bytes(63)), "has 63 bytes, a header alone has 64");
}

TEST(ModelFile, RejectsOtherMagic) {
  EXPECT_CORRUPT(withBytes([](Bytes &b) { std::memcpy(b.data(), "FUGG", 4); }),
                 "is no Lorac model file: it starts with 'FUGG', not 'LRCM'");
  EXPECT_STATUS(withBytes([](Bytes &b) { std::memcpy(b.data(), "GGUF", 4); }), Code::InvalidArgument,
                "is no Lorac model file but a GGUF checkpoint: make a model file of it with lorac compile");
  EXPECT_STATUS(parse(tinyAdapter().bytes()), Code::InvalidArgument, "but an adapter's bundle");
}

TEST(ModelFile, RejectsHeaderVersion) {
  EXPECT_STATUS(withBytes([](Bytes &b) { b[4] = 3; }), Code::Unsupported,
                "header version is 3, this Lorac knows versions up to 2");
  EXPECT_STATUS(withBytes([](Bytes &b) { b[4] = 1; }), Code::Unsupported,
                "header version is 1, this Lorac reads version 2; build the file again");
  EXPECT_CORRUPT(withBytes([](Bytes &b) { b[4] = 0; }), "header version is 0");
}

TEST(ModelFile, RejectsUnknownRequiredFeatures) {
  EXPECT_STATUS(withBytes([](Bytes &b) { b[11] = 0x80; }), Code::Unsupported, "bits 2147483648");
}

TEST(ModelFile, IgnoresUnknownOptionalFeatures) {
  EXPECT_OK(withBytes([](Bytes &b) { b[15] = 0x80; }));
}

TEST(ModelFile, RejectsMetadataOffset) {
  EXPECT_CORRUPT(withBytes([](Bytes &b) {
                   std::fill(b.begin() + 16, b.begin() + 24, 0);
                   b[16] = 63;
                 }),
                 "metadata starts at 63, inside the header");
}

TEST(ModelFile, RejectsMetadataPastEnd) {
  EXPECT_CORRUPT(withBytes([](Bytes &b) { b[26] += 16; }), "ends after the file's");
  EXPECT_CORRUPT(withBytes([](Bytes &b) { std::fill(b.begin() + 16, b.begin() + 32, 0xff); }),
                 "ends after the file's");
}

TEST(ModelFile, RejectsTooMuchMetadata) {
  Bytes bytes = minimalModel().bytes();
  Bytes metadata = metadataOf(bytes);
  metadata.resize((64 << 20) + 1);
  replaceMetadata(bytes, metadata);
  EXPECT_CORRUPT(parse(bytes), "metadata decompresses to 67108865 bytes, at most 67108864 are allowed");
}

TEST(ModelFile, RejectsMetadataDigest) {
  EXPECT_CORRUPT(withBytes([](Bytes &b) { b[40] ^= 1; }, false), "header and metadata have SHA-256");
}

TEST(ModelFile, RejectsMalformedMetadata) {
  const auto withMetadata = [](auto edit) {
    Bytes bytes = tinyModel().bytes();
    Bytes metadata = metadataOf(bytes);
    edit(metadata);
    replaceMetadata(bytes, metadata);
    return parse(bytes);
  };
  EXPECT_CORRUPT(withMetadata([](Bytes &b) { std::fill(b.begin(), b.begin() + 8, 0xff); }),
                 "no well-formed FlatBuffer of a model");
  EXPECT_CORRUPT(withMetadata([](Bytes &b) { b[4] = 'X'; }), "no well-formed FlatBuffer"); // the identifier
  EXPECT_CORRUPT(withMetadata([](Bytes &b) { b.clear(); }), "no well-formed FlatBuffer");
  EXPECT_CORRUPT(withBytes([](Bytes &b) { // none
                   uint64_t size;
                   std::memcpy(&size, b.data() + 24, 8);
                   b.resize(b.size() - size);
                   std::fill(b.begin() + 24, b.begin() + 32, 0);
                 }),
                 "metadata is no frame of Zstandard");
}

TEST(ModelFile, RejectsMissingRequiredField) {
  flatbuffers::FlatBufferBuilder builder;
  fbs::ModelBuilder made(builder);
  made.add_version(1);
  const auto start = builder.GetSize();
  builder.Finish(flatbuffers::Offset<fbs::Model>(builder.EndTable(start)), "LRCM");
  EXPECT_CORRUPT(parse(bareModelFile({builder.GetBufferPointer(), builder.GetSize()})),
                 "no well-formed FlatBuffer");
}

/// Moves a vector of 8-byte elements 4 bytes on and makes it 1 long: FlatBuffers' verifier lets it pass.
template <typename Table>
Status withShiftedVector(const Table &(*find)(const fbs::Model &), flatbuffers::voffset_t field) {
  Bytes bytes = tinyModel().bytes(), metadata = metadataOf(bytes);
  const Table &table = find(*fbs::GetModel(metadata.data()));
  const size_t at =
      size_t(reinterpret_cast<const flatbuffers::Table &>(table).GetAddressOf(field) - metadata.data());
  uint32_t offset;
  std::memcpy(&offset, metadata.data() + at, 4);
  offset += 4;
  std::memcpy(metadata.data() + at, &offset, 4);
  const uint32_t one = 1;
  std::memcpy(metadata.data() + at + offset, &one, 4);
  replaceMetadata(bytes, metadata);
  return parse(bytes);
}

TEST(ModelFile, RejectsMisalignedVectors) {
  EXPECT_CORRUPT(
      withShiftedVector<fbs::Model>([](const fbs::Model &m) -> auto & { return m; }, fbs::Model::VT_SEGMENTS),
      "the list of segments does not start at a multiple of 8");
  EXPECT_CORRUPT(
      withShiftedVector<fbs::BaseTensor>([](const fbs::Model &m) -> auto & { return *m.base()->Get(0); },
                                         fbs::BaseTensor::VT_SHAPE),
      "shape of base tensor 'block.k.weight' does not start at a multiple of 8");
  EXPECT_CORRUPT(
      withShiftedVector<fbs::AngleTable>([](const fbs::Model &m) -> auto & { return *m.angles()->Get(0); },
                                         fbs::AngleTable::VT_FREQUENCIES),
      "angle table 0 does not start at a multiple of 8");
  EXPECT_CORRUPT(withShiftedVector<fbs::Expr>(
                     [](const fbs::Model &m) -> auto & { return *m.expressions()->Get(m.arena_bytes()); },
                     fbs::Expr::VT_TERMS),
                 "arena_bytes does not start at a multiple of 8");
}

TEST(ModelFile, RejectsFormatVersion) {
  EXPECT_STATUS(edited([](TinyModel &t) { t.model.version = 4; }), Code::Unsupported,
                "format version is 4, this Lorac knows versions up to 3");
  EXPECT_STATUS(edited([](TinyModel &t) { t.model.version = 2; }), Code::Unsupported,
                "format version is 2, this Lorac reads version 3; compile the model again");
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.version = 0; }), "format version is 0");
}

TEST(ModelFile, RejectsSignature) {
  EXPECT_STATUS(edited([](TinyModel &t) { t.model.signature = {1}; }), Code::Unsupported, "is signed");
}

// ---- segments
// --------------------------------------------------------------------------------------------------

TEST(ModelFile, RejectsUnalignedSegment) {
  EXPECT_CORRUPT(
      withSegments([](auto &s) { s[1] = fbs::Segment(s[1].offset() + 256, s[1].size(), s[1].hash()); }),
      "segment 1 starts at");
}

TEST(ModelFile, RejectsOverlappingSegments) {
  EXPECT_CORRUPT(withSegments([](auto &s) { s[2] = fbs::Segment(s[1].offset(), s[2].size(), s[2].hash()); }),
                 "before what precedes it ends");
}

TEST(ModelFile, RejectsDescendingSegments) {
  TinyModel tiny = tinyModel();
  std::fill(tiny.segments[1].begin(), tiny.segments[1].end(), 0); // or it would be padding that is not zero
  EXPECT_CORRUPT(parse(tiny.bytes([](auto &s) { std::swap(s[1], s[2]); })), "segment 2 starts at");
}

TEST(ModelFile, RejectsSegmentsOffTheirAlignment) {
  const auto moved = [](size_t segment, uint64_t by) {
    return withSegments(
        [=](auto &s) { s[segment] = fbs::Segment(s[segment].offset() + by, 0, s[segment].hash()); });
  };
  EXPECT_CORRUPT(moved(0, 32), "segment 0 starts at 96, no multiple of 64");
  EXPECT_CORRUPT(moved(0, 64), "byte 64, before segment 0, must be zero");
  EXPECT_CORRUPT(moved(1, 64), "segment 1 starts at 4160, no multiple of 4096");
}

TEST(ModelFile, RejectsSegmentOverHeader) {
  EXPECT_CORRUPT(withSegments([](auto &s) { s[0] = fbs::Segment(0, s[0].size(), s[0].hash()); }),
                 "segment 0 starts at 0, before");
}

TEST(ModelFile, RejectsSegmentPastEnd) {
  EXPECT_CORRUPT(
      withSegments([](auto &s) { s[2] = fbs::Segment(s[2].offset(), s[2].size() + 1, s[2].hash()); }),
      "segment 2 (offset");
  EXPECT_CORRUPT(withSegments([](auto &s) { s[2] = fbs::Segment(s[2].offset(), UINT64_MAX, s[2].hash()); }),
                 "segment 2 (offset");
  EXPECT_CORRUPT(withSegments([](auto &s) { s[2] = fbs::Segment(UINT64_MAX - 4095, 4096, s[2].hash()); }),
                 "segment 2 (offset");
}

TEST(ModelFile, RejectsBytesBetweenLastSegmentAndMetadata) {
  EXPECT_CORRUPT(
      withSegments([](auto &s) { s[2] = fbs::Segment(s[2].offset(), s[2].size() - 1, s[2].hash()); }),
      "its last segment ends at");
}

TEST(ModelFile, RejectsPaddingThatIsNotZero) {
  TinyModel tiny = tinyModel();
  Bytes bytes = tiny.bytes();
  const uint64_t first = tiny.model.segments[0].offset(), second = tiny.model.segments[1].offset();
  EXPECT_EQ(first, 64u); // nothing lies before it
  bytes[second - 1] = 1;
  EXPECT_CORRUPT(parse(bytes), "byte " + std::to_string(second - 1) + ", before segment 1, must be zero");
}

TEST(ModelFile, RejectsSegmentDigest) {
  TinyModel tiny = tinyModel();
  Bytes bytes = tiny.bytes();
  bytes[tiny.model.segments[2].offset() + 5] ^= 0x10;
  EXPECT_CORRUPT(parse(bytes), "segment 2 has SHA-256");
}

TEST(ModelFile, RejectsFirstWeightSegment) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.first_weight_segment = 4; }),
                 "first_weight_segment is 4 of 3 segments");
}

TEST(ModelFile, RejectsWeightBytes) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.weight_bytes += 1; }),
                 "weight segments have 2560 bytes, weight_bytes is 2561");
}

TEST(ModelFile, RejectsLongWeightSegment) {
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   t.segments[2].resize(format::MaxWeightSegmentBytes + 256);
                   t.model.weight_bytes = 1536 + t.segments[2].size();
                 }),
                 "weight segment 2 has 16777472 bytes, at most 16777216");
}

// ---- base, weights, sites
// --------------------------------------------------------------------------------------

TEST(ModelFile, RejectsUnsortedBase) {
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   std::swap(t.model.base[0], t.model.base[1]);
                   t.updateFingerprint();
                 }),
                 "names must ascend");
}

TEST(ModelFile, RejectsBaseTensorTwice) {
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   t.model.base[1]->name = t.model.base[0]->name;
                   t.updateFingerprint();
                 }),
                 "base tensor 'block.k.weight' stands after 'block.k.weight'");
}

TEST(ModelFile, RejectsHugeBaseTensor) {
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   t.model.base[0]->shape = {uint64_t(1) << 32, uint64_t(1) << 30};
                   t.updateFingerprint();
                 }),
                 "more values than memory can hold");
}

TEST(ModelFile, RejectsOtherFingerprint) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.base[0]->shape[0] = 5; }),
                 "base tensors have fingerprint");
  EXPECT_CORRUPT(edited([](TinyModel &t) { *t.model.fingerprint = *t.model.base[0]->hash; }),
                 "base tensors have fingerprint");
}

TEST(ModelFile, RejectsWeightNameTwice) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.weights[3]->name = t.model.weights[2]->name; }),
                 "two weights have the name 'block.q.weight'");
}

TEST(ModelFile, RejectsWeightType) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.weights[0]->type = fbs::WeightType(8); }),
                 "has unknown type 8");
}

TEST(ModelFile, RejectsEmptyWeight) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.weights[0]->cols = 0; }), "has shape 32 x 0");
}

TEST(ModelFile, RejectsVectorWithColumns) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.weights[1]->cols = 2; }),
                 "vector 'block.norm.weight' has 2 columns");
}

TEST(ModelFile, RejectsWeightSize) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.weights[0]->rows = 33; }),
                 "has 512 bytes, 33 x 8 of F16 take 640");
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.weights[0]->type = fbs::WeightType::F32; }),
                 "32 x 8 of F32 take 1024");
  EXPECT_CORRUPT(
      edited([](TinyModel &t) { t.model.weights[0]->rows = t.model.weights[0]->cols = UINT64_MAX; }),
      "more than memory can hold");
  EXPECT_CORRUPT(
      edited([](TinyModel &t) { t.model.weights[0]->rows = t.model.weights[0]->cols = uint64_t(1) << 40; }),
      "more than memory can hold");
}

TEST(ModelFile, RejectsScalesThatMakeNoPackedType) {
  for (fbs::ScaleType scales : {fbs::ScaleType::Halves, fbs::ScaleType::Words, fbs::ScaleType::Bytes})
    EXPECT_CORRUPT(edited([&](TinyModel &t) { t.model.weights[0]->scales = scales; }),
                   "which is no packed type");
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.weights[0]->group = 32; }),
                 "groups of 32, which is no packed type");
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.weights[0]->type = fbs::WeightType::Int4; }),
                 "is Int4 with scales of kind 0 and groups of 0, which is no packed type");
}

TEST(ModelFile, RejectsGroupsThatDoNotDivideARow) {
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   t.model.weights[0]->type = fbs::WeightType::Int4;
                   t.model.weights[0]->scales = fbs::ScaleType::Halves;
                   t.model.weights[0]->group = 32;
                 }),
                 "groups of 32 do not divide rows of 8 values");
}

TEST(ModelFile, RejectsPlaneSizes) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.weights[0]->scales_size = 4; }),
                 "has 4 bytes of scales, 32 x 8 of F16 take 0");
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.weights[0]->nested_size = 4; }),
                 "has 4 bytes of nested scales, 32 x 8 of F16 take 0");
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.weights[1]->scales_size = 4; }),
                 "has 4 bytes of scales, 8 x 1 of VectorF32 take 0");
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   t.model.weights[0]->type =
                       fbs::WeightType::Int8; // one scale a row: 4 bytes for each of 32
                   t.model.weights[0]->scales = fbs::ScaleType::Words;
                   t.model.weights[0]->scales_size = 128;
                   t.model.weights[0]->scales_offset = 2560 - 124;
                 }),
                 "128 bytes of scales) ends after the weight space's 2560 bytes");
}

TEST(ModelFile, RejectsWeightOffset) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.weights[2]->offset += 8; }),
                 "weight 'block.q.weight' starts at 776, no multiple of 16");
}

TEST(ModelFile, RejectsWeightOutsideTheSpace) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.weights[0]->offset = 2304; }),
                 "ends after the weight space's 2560 bytes");
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.weights[0]->offset = uint64_t(0) - 256; }),
                 "ends after the weight space");
}

TEST(ModelFile, RejectsSiteNameTwice) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.sites[1]->name = "block.q"; }),
                 "two sites have the name 'block.q'");
}

TEST(ModelFile, RejectsHeadSite) {
  EXPECT_OK(edited([](TinyModel &t) { t.model.head_site = 3; }));
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.head_site = 4; }), "head_site is 4 of 4");
}

TEST(ModelFile, RejectsSiteFeatures) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.sites[0]->in_features = 0; }),
                 "site 'block.q' maps 0 features to 8");
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.sites[0]->out_features = 0; }), "maps 8 features to 0");
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.sites[0]->in_features = (uint64_t(1) << 31) + 1; }),
                 "expected 1 to 2147483648");
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.sites[0]->out_features = (uint64_t(1) << 31) + 1; }),
                 "expected 1 to 2147483648");
}

// ---- symbols, limits, angles
// -----------------------------------------------------------------------------------

TEST(ModelFile, RejectsUnknownSymbol) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.symbols[2]->name = "itemz"; }),
                 "symbol 'itemz' is unknown");
}

TEST(ModelFile, RejectsSymbolTwice) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.symbols[1]->name = "rows"; }),
                 "two symbols have the name 'rows'");
}

TEST(ModelFile, RejectsMissingSymbol) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.symbols.pop_back(); }),
                 "symbol 'adapted_rows' is missing");
}

TEST(ModelFile, RejectsSymbolClass) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.symbols[0]->kind = fbs::SymbolClass::Load; }),
                 "symbol 'rows' has class 0, expected Step");
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.symbols[0]->kind = fbs::SymbolClass(2); }),
                 "symbol 'rows' has class 2");
}

TEST(ModelFile, RejectsSymbolMaximum) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.symbols[0]->maximum = 65536; }),
                 "symbol 'rows' has maximum 65536, at most 65535");
}

TEST(ModelFile, RejectsVocabularySize) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.vocab_size = 0; }), "vocab_size is 0");
}

TEST(ModelFile, RejectsPageTokens) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.page_tokens = 32; }), "page_tokens is 32, expected 16");
}

TEST(ModelFile, RejectsMaxContext) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.max_context = 0; }), "max_context is 0");
}

TEST(ModelFile, RejectsMaxRows) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.max_rows = 0; }), "max_rows is 0");
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.max_rows = 17; }),
                 "max_rows is 17, expected 1 to the maximum of symbol rows (16)");
}

TEST(ModelFile, RejectsEosId) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.eos_ids = {1, 32}; }),
                 "eos id 32 is outside the vocabulary of 32");
}

TEST(ModelFile, RejectsEmptyAngles) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.angles[0]->frequencies.clear(); }),
                 "angle table 0 is empty");
}

TEST(ModelFile, RejectsAnglesThatAreNotFinite) {
  for (double bad : {std::nan(""), HUGE_VAL})
    EXPECT_CORRUPT(edited([&](TinyModel &t) { t.model.angles[0]->frequencies[1] = bad; }),
                   "frequency that is not finite");
}

// ---- kernels
// ---------------------------------------------------------------------------------------------------

TEST(ModelFile, RejectsKernelNameTwice) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { kernel(t, "head").name = "linear"; }),
                 "two kernels have the name 'linear'");
}

TEST(ModelFile, RejectsUnknownCatalogKernel) {
  EXPECT_STATUS(edited([](TinyModel &t) { kernel(t, "add").catalog = "conv"; }), Code::Unsupported,
                "kernel 'add' is a 'conv', which this Lorac does not have");
}

TEST(ModelFile, RejectsMissingConstant) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { kernel(t, "attend").constants.pop_back(); }),
                 "kernel 'attend' has 3 constants, attend has 4");
}

TEST(ModelFile, RejectsConstantTwice) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { kernel(t, "attend").constants[1]->name = "HEAD"; }),
                 "two constants of a kernel have the name 'HEAD'");
}

TEST(ModelFile, RejectsUnknownConstant) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { kernel(t, "attend").constants[1]->name = "TAIL"; }),
                 "has constant 'TAIL', which attend does not have");
}

TEST(ModelFile, RejectsConstantOutOfRange) {
  for (int64_t bad : {int64_t(1), int64_t(513), int64_t(-1)})
    EXPECT_CORRUPT(edited([&](TinyModel &t) { named(kernel(t, "rope").constants, "HEAD").value = bad; }),
                   "expected 2 to 512");
}

TEST(ModelFile, RejectsBindingRole) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { kernel(t, "gather").bindings[1]->role = "rows"; }),
                 "kernel 'gather': binding 1 must be out (Read, U32x4)");
}

TEST(ModelFile, RejectsBindingAccess) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { kernel(t, "gather").bindings[2]->access = fbs::Access::Read; }),
                 "binding 2 must be y (Write, F32x4)");
  EXPECT_CORRUPT(edited([](TinyModel &t) { kernel(t, "gather").bindings[2]->access = fbs::Access(2); }),
                 "binding 2 must be y");
}

TEST(ModelFile, RejectsBindingElement) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { kernel(t, "gather").bindings[0]->element = fbs::Element::F32; }),
                 "binding 0 must be x");
}

TEST(ModelFile, RejectsMissingBinding) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { kernel(t, "gather").bindings.pop_back(); }),
                 "binding 2 must be y");
}

TEST(ModelFile, RejectsBindingWhoseConditionIsOff) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { named(kernel(t, "linear+").constants, "ADAPTERS").value = 0; }),
                 "kernel 'linear+' has 7 bindings, linear has 3 with these constants");
}

TEST(ModelFile, RejectsMissingConditionalBinding) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { named(kernel(t, "linear").constants, "HAS_BIAS").value = 1; }),
                 "binding 3 must be bias");
}

TEST(ModelFile, RejectsPushName) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { kernel(t, "gather").push[1] = "y_stride"; }),
                 "push constant 1 is 'y_stride', expected x_stride");
}

TEST(ModelFile, RejectsPushCount) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { kernel(t, "gather").push.pop_back(); }),
                 "has 2 push constants, gather has 3");
  EXPECT_CORRUPT(edited([](TinyModel &t) { kernel(t, "gather").push.push_back("more"); }),
                 "has 4 push constants");
}

// ---- epilogues
// -------------------------------------------------------------------------------------------------

fbs::EpilogueTerm term(fbs::EpilogueOp op, uint16_t index = 0, float value = 0) {
  return fbs::EpilogueTerm(value, index, op);
}
Status withEpilogue(const std::string &name, std::vector<fbs::EpilogueTerm> terms) {
  return edited([&](TinyModel &t) { kernel(t, name).epilogue = std::move(terms); });
}
using Op = fbs::EpilogueOp;

TEST(ModelFile, AcceptsEveryEpilogueOp) {
  EXPECT_OK(withEpilogue("add", {term(Op::Operand, 0), term(Op::Operand, 1), term(Op::Sub),
                                 term(Op::Const, 0, 2), term(Op::Mul), term(Op::Neg), term(Op::Exp),
                                 term(Op::Const, 0, 1), term(Op::Add), term(Op::Const, 0, 3), term(Op::Div),
                                 term(Op::Const, 0, 0), term(Op::Max), term(Op::Const, 0, 9), term(Op::Min),
                                 term(Op::Sqrt), term(Op::Tanh), term(Op::Erf)}));
}

TEST(ModelFile, RejectsEpilogueWhereThereIsNone) {
  EXPECT_CORRUPT(withEpilogue("gather", {term(Op::Const)}),
                 "kernel 'gather': epilogue on gather, which has none");
}

TEST(ModelFile, RejectsMissingEpilogue) {
  EXPECT_OK(withEpilogue("linear", {})); // one segment: the segment itself
  EXPECT_CORRUPT(withEpilogue("add", {}), "kernel 'add': epilogue is missing");
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   named(kernel(t, "linear").constants, "COMBINE").value = 2;
                   kernel(t, "linear").epilogue.clear();
                 }),
                 "kernel 'linear': epilogue is missing");
}

TEST(ModelFile, RejectsEpilogueSegment) {
  EXPECT_CORRUPT(withEpilogue("linear", {term(Op::Segment, 1)}), "term 0 is segment 1 of 1");
  EXPECT_CORRUPT(withEpilogue("add", {term(Op::Segment, 0)}), "term 0 is segment 0 of 0");
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   named(kernel(t, "linear").constants, "COMBINE").value = 2;
                   kernel(t, "linear").epilogue = {term(Op::Segment, 0), term(Op::Segment, 2)};
                 }),
                 "term 1 is segment 2 of 2");
}

TEST(ModelFile, RejectsEpilogueOperand) {
  EXPECT_CORRUPT(withEpilogue("linear", {term(Op::Operand, 0)}),
                 "term 0 is operand 0, which the kernel does not bind");
  EXPECT_CORRUPT(withEpilogue("add", {term(Op::Operand, 2)}), "term 0 is operand 2");
}

TEST(ModelFile, RejectsEpilogueConstantThatIsNotFinite) {
  for (float bad : {std::nanf(""), HUGE_VALF})
    EXPECT_CORRUPT(withEpilogue("linear", {term(Op::Const, 0, bad)}),
                   "term 0 is a constant that is not finite");
}

TEST(ModelFile, RejectsEpilogueOp) {
  EXPECT_CORRUPT(withEpilogue("linear", {term(Op(14))}), "term 0 has unknown op 14");
}

TEST(ModelFile, RejectsEpilogueUnderflow) {
  EXPECT_CORRUPT(withEpilogue("linear", {term(Op::Neg)}), "term 0 takes 1 values of 0");
  EXPECT_CORRUPT(withEpilogue("linear", {term(Op::Segment), term(Op::Add)}), "term 1 takes 2 values of 1");
}

TEST(ModelFile, RejectsEpilogueLeftOver) {
  EXPECT_CORRUPT(withEpilogue("linear", {term(Op::Segment), term(Op::Segment)}),
                 "epilogue leaves 2 values, not one");
}

TEST(ModelFile, RejectsEpilogueTooDeep) {
  std::vector<fbs::EpilogueTerm> terms(33, term(Op::Segment));
  terms.resize(65, term(Op::Add));
  EXPECT_CORRUPT(withEpilogue("linear", terms), "term 32 stacks more than 32 values");
}

TEST(ModelFile, RejectsEpilogueTooLong) {
  std::vector<fbs::EpilogueTerm> terms(1, term(Op::Segment));
  terms.resize(256, term(Op::Neg));
  EXPECT_OK(withEpilogue("linear", terms));
  terms.push_back(term(Op::Neg));
  EXPECT_CORRUPT(withEpilogue("linear", terms), "epilogue has 257 terms, at most 256");
}

// ---- variants
// --------------------------------------------------------------------------------------------------

template <typename Edit> Status withVariant(Edit edit) {
  return edited([&](TinyModel &t) { edit(*kernel(t, "gather").variants[0]); });
}

TEST(ModelFile, AcceptsKernelsWithoutCode) { // the cpu device has kernels of its own
  EXPECT_OK(edited([](TinyModel &t) {
    for (auto &k : t.model.kernels)
      k->variants.clear();
  }));
}

TEST(ModelFile, RejectsCodeKind) {
  EXPECT_CORRUPT(withVariant([](auto &v) { v.kind = fbs::CodeKind(1); }),
                 "kernel 'gather': variant 'texel' has unknown code kind 1");
}

TEST(ModelFile, RejectsUnknownFeatures) {
  EXPECT_STATUS(withVariant([](auto &v) { v.features |= uint64_t(1) << 40; }), Code::Unsupported,
                "requires unknown device features");
}

TEST(ModelFile, RejectsTexelWithoutItsFeature) {
  EXPECT_CORRUPT(withVariant([](auto &v) { v.features = 2; }),
                 "reads texel buffers but does not require the feature");
}

TEST(ModelFile, RejectsLanes) {
  for (uint32_t bad : {0u, 3u, 2048u})
    EXPECT_CORRUPT(withVariant([&](auto &v) { v.lanes = bad; }), "lanes, expected a power of two up to 1024");
}

TEST(ModelFile, RejectsCodeInWeights) {
  EXPECT_CORRUPT(withVariant([](auto &v) { v.segment = 1; }),
                 "has its code in segment 1, which is no code segment");
}

TEST(ModelFile, RejectsCodeAlignment) {
  EXPECT_CORRUPT(withVariant([](auto &v) { v.offset += 2; }), "expected multiples of 4");
  EXPECT_CORRUPT(withVariant([](auto &v) { v.size = 38; }), "expected multiples of 4");
}

TEST(ModelFile, RejectsCodeTooSmall) {
  EXPECT_CORRUPT(withVariant([](auto &v) { v.size = 24; }), "at least 28 bytes");
}

TEST(ModelFile, RejectsCodePastItsSegment) {
  EXPECT_CORRUPT(withVariant([](auto &v) { v.size = 4096; }), "ends after its segment's 308 bytes");
  EXPECT_CORRUPT(withVariant([](auto &v) { v.offset = UINT64_MAX - 3; }), "ends after its segment's");
}

TEST(ModelFile, RejectsOverlappingCode) {
  EXPECT_OK(edited([](TinyModel &t) { // equal code may stand once
    t.model.kernels[1]->variants[0]->offset = t.model.kernels[0]->variants[0]->offset;
  }));
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.kernels[0]->variants[0]->size += 4; }),
                 "has code (offset 28, 28 bytes) that overlaps another's at 0");
}

TEST(ModelFile, RejectsTooManyVariants) {
  const auto withVariants = [](size_t count) {
    return edited([&](TinyModel &t) {
      auto &variants = t.model.kernels[0]->variants;
      const size_t others = t.model.kernels.size() - 1;
      while (variants.size() + others < count)
        variants.push_back(std::make_unique<fbs::VariantT>(*variants[0]));
    });
  };
  EXPECT_OK(withVariants(MaxVariants));
  EXPECT_CORRUPT(withVariants(MaxVariants + 1), "kernels have more than 65536 variants in all");
}

TEST(ModelFile, RejectsOtherCode) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.segments[0][8] ^= 1; }), "has code that is no SPIR-V module");
}

// ---- chains

auto openChained(const std::function<void(fbs::ChainT &, fbs::CommandT &)> &edit) {
  TinyModel tiny = chainedModel(edit);
  const Bytes bytes = tiny.bytes();
  return ModelFile::parse(bytes, "tiny.lorac").status();
}

TEST(ModelFile, LoadsChains) {
  EXPECT_OK(openChained([](auto &, auto &) {}));
}

TEST(ModelFile, RejectsChainsOfNothing) {
  EXPECT_CORRUPT(openChained([](auto &chain, auto &) { chain.kernels.resize(1); }),
                 "has 1 links and 3 waits");
  EXPECT_CORRUPT(openChained([](auto &chain, auto &) { chain.waits.pop_back(); }), "has 3 links and 2 waits");
  EXPECT_CORRUPT(openChained([](auto &chain, auto &) { chain.waits[0] = true; }), "none before the first");
  EXPECT_CORRUPT(openChained([](auto &chain, auto &) { chain.kernels.assign(65, 0); }), "has 65 links");
  EXPECT_CORRUPT(openChained([](auto &chain, auto &) { chain.kernels[1] = 1000; }), "has kernel 1000 of");
  EXPECT_CORRUPT(openChained([](auto &chain, auto &) { chain.variants[0]->segment = 1; }),
                 "chain 'chain': variant 'texel' has its code in segment 1");
}

TEST(ModelFile, RejectsRunsOfOtherCommands) {
  EXPECT_CORRUPT(openChained([](auto &, auto &run) { run.kernel = 1; }), "runs chain 1 of 1");
  EXPECT_CORRUPT(openChained([](auto &, auto &run) { run.commands = 0; }),
                 "or runs no link of chain 'chain'");
  EXPECT_CORRUPT(openChained([](auto &, auto &run) { ++run.commands; }), "");
  EXPECT_CORRUPT(openChained([](auto &, auto &run) { run.commands = UINT32_MAX; }), "is not link 3 of chain");
  EXPECT_CORRUPT(openChained([](auto &, auto &run) { run.link = 1; }), "command 0 after it is not link 1");
  EXPECT_CORRUPT(openChained([](auto &, auto &run) { run.link = UINT32_MAX; }), "is not link 4294967295");
  EXPECT_CORRUPT(openChained([](auto &, auto &run) { run.commands = 1; }),
                 "runs a part of chain 'chain', and no command of the program all of it");
  EXPECT_CORRUPT(openChained([](auto &chain, auto &) { chain.waits[1] = !chain.waits[1]; }),
                 "is not link 1 of chain 'chain'");
  EXPECT_CORRUPT(openChained([](auto &, auto &run) { run.push.push_back(0); }), "Run has 0 views");
  EXPECT_CORRUPT(edited([](TinyModel &t) { program(t, "one").commands[0]->link = 1; }),
                 "Dispatch has 0 commands and link 1, expected none");
}

TEST(ModelFile, RejectsCodeThatIsNotCompressed) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.compressesCode = false; }),
                 "segment 0, of kernel code, is no frame of Zstandard");
}

TEST(ModelFile, RejectsTooMuchCode) {
  auto withCode = [](size_t bytes) { return edited([&](TinyModel &t) { t.segments[0].resize(bytes); }); };
  EXPECT_OK(withCode(format::MaxCodeBytes));
  EXPECT_CORRUPT(withCode(format::MaxCodeBytes + 1),
                 "segment 0, of kernel code, decompresses to 33554433 bytes, at most 33554432 are allowed");
}

// ---- programs
// --------------------------------------------------------------------------------------------------

TEST(ModelFile, RejectsProgramNameTwice) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { program(t, "few").name = "one"; }),
                 "two programs have the name 'one'");
}

TEST(ModelFile, RejectsProgramRows) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { program(t, "few").rows_min = 0; }), "serves 0 to 8 rows");
  EXPECT_CORRUPT(edited([](TinyModel &t) { program(t, "few").rows_min = 9; }), "serves 9 to 8 rows");
  EXPECT_CORRUPT(edited([](TinyModel &t) { program(t, "many").rows_max = 17; }),
                 "serves 9 to 17 rows, the model 1 to 16");
}

TEST(ModelFile, RejectsBufferNameTwice) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { buffer(t, "one", "sum").name = "x"; }),
                 "two buffers of a program have the name 'x'");
}

TEST(ModelFile, RejectsSpace) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { buffer(t, "one", "x").space = fbs::Space(6); }),
                 "program 'one': buffer 'x': unknown space 6");
}

TEST(ModelFile, RejectsStepInput) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { buffer(t, "one", "rows").input = fbs::StepInput(8); }),
                 "unknown step input 8");
}

TEST(ModelFile, RejectsStepInputOutsideStepSpace) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { buffer(t, "one", "x").input = fbs::StepInput::Rows; }),
                 "has space Arena and step input Rows");
}

TEST(ModelFile, RejectsStepBufferWithoutInput) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { buffer(t, "one", "rows").input = fbs::StepInput::None; }),
                 "has space Step and step input None");
}

TEST(ModelFile, RejectsStepSymbolInBuffer) {
  EXPECT_CORRUPT(
      edited([](TinyModel &t) { buffer(t, "few", "x").size = expr(t.model, symbol("rows") * constant(32)); }),
      "buffer 'x': size term 0 is step symbol 0");
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   buffer(t, "few", "x").offset = expr(t.model, symbol("rows") * constant(256));
                 }),
                 "buffer 'x': offset term 0 is step symbol");
}

TEST(ModelFile, RejectsBufferOffset) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { buffer(t, "one", "x").offset = expr(t.model, constant(128)); }),
                 "offset is not always a multiple of 256");
  // A multiple at the maximum (2048 pages), not below it.
  EXPECT_CORRUPT(
      edited([](TinyModel &t) { buffer(t, "one", "x").offset = expr(t.model, symbol("max_pages")); }),
      "offset is not always a multiple of 256");
}

TEST(ModelFile, RejectsSymbolInWeightBuffer) {
  EXPECT_CORRUPT(
      edited([](TinyModel &t) { buffer(t, "one", "embedding").size = expr(t.model, symbol("max_entries")); }),
      "must hold no symbol");
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   buffer(t, "one", "embedding").offset = expr(t.model, symbol("pages") * constant(0));
                 }),
                 "must hold no symbol");
}

TEST(ModelFile, RejectsBufferEndOverflow) {
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   buffer(t, "one", "rows").offset = expr(t.model, constant(uint64_t(0) - 256)),
                                    buffer(t, "one", "rows").size = expr(t.model, constant(512));
                 }),
                 "buffer 'rows' ends after 2^64 bytes");
}

TEST(ModelFile, RejectsBufferOutsideItsSpace) {
  EXPECT_CORRUPT(
      edited([](TinyModel &t) { buffer(t, "one", "o.weight").size = expr(t.model, constant(512)); }),
      "ends after the Weight space's 2560 bytes");
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.arena_bytes = expr(t.model, constant(4096)); }),
                 "ends after the Arena space's 4096 bytes");
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   buffer(t, "one", "cache").size = expr(t.model, symbol("pages") * constant(768));
                 }),
                 "ends after the Cache space's");
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   buffer(t, "one+", "pool").size = expr(t.model, symbol("pool_bytes") + constant(16));
                 }),
                 "ends after the Pool space's 1073741824 bytes");
}

TEST(ModelFile, RejectsCachePageBytesThatOverflow) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.cache_page_bytes = UINT64_MAX; }),
                 "too much for 1024 pages");
}

TEST(ModelFile, RejectsArenaExpression) {
  EXPECT_CORRUPT(
      edited([](TinyModel &t) { t.model.arena_bytes = expr(t.model, symbol("rows") * constant(1 << 20)); }),
      "arena_bytes term 0 is step symbol 0");
  EXPECT_CORRUPT(edited([](TinyModel &t) { t.model.arena_bytes = expr(t.model, {}); }),
                 "arena_bytes leaves 0 values");
}

TEST(ModelFile, RejectsSmallStepBuffer) {
  const struct {
    const char *name;
    Terms size;
    const char *part;
  } cases[] = {
      {"rows", constant(256 - 16), "buffer 'rows' has 240 bytes, its records take 256"},
      {"out_rows", constant(256 - 16), "its records take 256"},
      {"angles", constant(256 - 16), "its records take 256"},
      {"stacks", constant(256 - 16), "its records take 256"},
      {"pages", symbol("max_pages") * constant(3), "has 6144 bytes, its records take 8192"},
      {"entries", symbol("max_entries") * constant(15), "its records take 4096"},
      {"items", symbol("max_items") * constant(15), "its records take 65536"},
  };
  for (const auto &c : cases)
    EXPECT_CORRUPT(edited([&](TinyModel &t) { buffer(t, "many+", c.name).size = expr(t.model, c.size); }),
                   c.part);
}

TEST(ModelFile, RejectsAngleTableIndex) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { buffer(t, "one", "angles").angles = 1; }),
                 "takes angle table 1 of 1");
}

TEST(ModelFile, RejectsOverlappingStepBuffers) {
  EXPECT_CORRUPT(
      edited([](TinyModel &t) { buffer(t, "one", "out_rows").offset = expr(t.model, constant(0)); }),
      "overlap");
}

TEST(ModelFile, RejectsOutWidth) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { buffer(t, "one", "logits").width = 33; }),
                 "has width 33 and row stride 32");
  EXPECT_CORRUPT(edited([](TinyModel &t) { buffer(t, "one", "logits").width = 0; }), "has width 0");
}

TEST(ModelFile, RejectsExpressionIndex) {
  const auto past = [](TinyModel &t) { return uint32_t(t.model.expressions.size()); };
  EXPECT_CORRUPT(edited([&](TinyModel &t) { t.model.arena_bytes = past(t); }), "arena_bytes is expression");
  EXPECT_CORRUPT(edited([&](TinyModel &t) { buffer(t, "one", "x").offset = past(t); }),
                 "buffer 'x': offset is expression");
  EXPECT_CORRUPT(edited([&](TinyModel &t) { setSize(program(t, "one").commands[0]->views[0], past(t)); }),
                 "view 0: size is expression");
  EXPECT_CORRUPT(edited([&](TinyModel &t) { program(t, "one").commands[0]->grid[1] = UINT32_MAX; }),
                 "grid axis 1 is expression 4294967295 of");
  EXPECT_CORRUPT(edited([&](TinyModel &t) { program(t, "one").commands[0]->push[0] = past(t); }),
                 "push constant 0 is expression");
}

TEST(ModelFile, RejectsSmallOutBuffer) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { buffer(t, "many", "logits").row_stride = 33; }),
                 "buffer 'logits' has 2048 bytes, its records take 2112");
}

TEST(ModelFile, RejectsAdapterBuffersWithAdaptersOff) {
  const std::vector<std::string> names = {"pool", "stacks", "entries", "items"};
  for (const std::string &kept : names) // one of the four at a time
    EXPECT_CORRUPT(edited([&](TinyModel &t) {
                     auto extra = std::make_unique<fbs::BufferT>();
                     const fbs::BufferT &from = buffer(t, "one+", kept);
                     extra->name = kept;
                     extra->space = from.space;
                     extra->input = from.input;
                     extra->offset = expr(t.model, constant(uint64_t(1) << 40));
                     extra->size = expr(t.model, constant(1 << 20));
                     program(t, "one").buffers.push_back(std::move(extra));
                   }),
                   "buffer '" + kept + "': serves adapters in a program with adapters off");
}

TEST(ModelFile, RejectsAdapterKernelWithAdaptersOff) {
  EXPECT_CORRUPT(
      edited([](TinyModel &t) { dispatch(t, "one", "add").kernel = dispatch(t, "one+", "shrink").kernel; }),
      "dispatches shrink in a program with adapters off");
}

// ---- commands
// --------------------------------------------------------------------------------------------------

TEST(ModelFile, RejectsCommandKind) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { program(t, "one").commands[0]->kind = fbs::CommandKind(5); }),
                 "program 'one': command 0: unknown kind 5");
}

TEST(ModelFile, RejectsKernelIndex) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { program(t, "one").commands[0]->kernel = 11; }),
                 "dispatches kernel 11 of 11");
}

TEST(ModelFile, RejectsViewCount) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { program(t, "one").commands[0]->views.pop_back(); }),
                 "Dispatch has 2 views");
  EXPECT_CORRUPT(edited([](TinyModel &t) { commandOf(t, "few", fbs::CommandKind::Fill).views.clear(); }),
                 "Fill has 0 views");
  EXPECT_CORRUPT(edited([](TinyModel &t) { commandOf(t, "one", fbs::CommandKind::Copy).views.pop_back(); }),
                 "Copy has 1 views");
}

TEST(ModelFile, RejectsGridCount) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { program(t, "one").commands[0]->grid.pop_back(); }),
                 "2 grid expressions");
}

TEST(ModelFile, RejectsPushConstantCount) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { program(t, "one").commands[0]->push.pop_back(); }),
                 "and 3 push constants, expected 3, 3 and 4");
}

TEST(ModelFile, RejectsBarrierWithOperands) {
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   commandOf(t, "one", fbs::CommandKind::Barrier).push.push_back(expr(t.model, constant(1)));
                 }),
                 "Barrier has 0 views");
}

TEST(ModelFile, RejectsViewBuffer) {
  EXPECT_CORRUPT(edited([](TinyModel &t) { setBuffer(program(t, "one").commands[0]->views[0], 99); }),
                 "view 0: is of buffer 99 of");
}

TEST(ModelFile, RejectsWritesToSpacesThatAreOnlyRead) {
  for (const char *name : {"embedding", "pool", "stacks"})
    EXPECT_CORRUPT(edited([&](TinyModel &t) {
                     auto &buffers = program(t, "one+").buffers;
                     uint32_t index = 0;
                     while (buffers[index]->name != name)
                       ++index;
                     setBuffer(dispatch(t, "one+", "embed").views[2], index);
                   }),
                   std::string("writes buffer '") + name + "'");
  EXPECT_CORRUPT(
      edited([](TinyModel &t) { setBuffer(commandOf(t, "few", fbs::CommandKind::Fill).views[0], 0); }),
      "writes buffer 'embedding' of space Weight");
  EXPECT_CORRUPT(
      edited([](TinyModel &t) { setBuffer(commandOf(t, "one", fbs::CommandKind::Copy).views[1], 0); }),
      "writes buffer 'embedding'");
}

TEST(ModelFile, RejectsEmptyView) {
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   setSize(program(t, "one").commands[0]->views[0], expr(t.model, constant(0)));
                 }),
                 "view 0: is empty");
}

TEST(ModelFile, RejectsStepSymbolInView) {
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   setSize(program(t, "one").commands[0]->views[0],
                           expr(t.model, symbol("rows") * constant(16)));
                 }),
                 "view 0: size term 0 is step symbol");
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   setOffset(program(t, "one").commands[0]->views[0], expr(t.model, symbol("items")));
                 }),
                 "view 0: offset term 0 is step symbol");
}

TEST(ModelFile, RejectsViewOffset) {
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   setOffset(program(t, "one").commands[0]->views[0], expr(t.model, constant(16)));
                 }),
                 "view 0: offset is not always a multiple of 256");
}

TEST(ModelFile, RejectsViewOutsideItsBuffer) {
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   setSize(program(t, "one").commands[0]->views[0], expr(t.model, constant(528)));
                 }),
                 "view 0 (offset 0, 528 bytes) ends after buffer 'embedding' of 512 bytes");
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   setOffset(program(t, "one").commands[0]->views[0], expr(t.model, constant(256)));
                 }),
                 "view 0 (offset 256, 512 bytes) ends after");
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   setOffset(program(t, "one").commands[0]->views[0],
                             expr(t.model, constant(uint64_t(0) - 256)));
                 }),
                 "ends after buffer");
}

TEST(ModelFile, RejectsViewThatSplitsAnElement) {
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   setSize(program(t, "one").commands[0]->views[0], expr(t.model, constant(500)));
                 }),
                 "view 0 has 500 bytes, no multiple of its element's 16");
}

TEST(ModelFile, RejectsCopyOfDifferentSizes) {
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   setSize(commandOf(t, "one", fbs::CommandKind::Copy).views[0], expr(t.model, constant(16)));
                 }),
                 "copies 16 bytes to 32");
}

TEST(ModelFile, RejectsGrid) {
  EXPECT_CORRUPT(
      edited([](TinyModel &t) { program(t, "one").commands[0]->grid[1] = expr(t.model, constant(65536)); }),
      "grid axis 1 has up to 65536 groups, at most 65535");
  EXPECT_CORRUPT(edited([](TinyModel &t) { program(t, "one").commands[0]->grid[2] = expr(t.model, {}); }),
                 "grid axis 2 leaves 0 values");
  // rows is bounded by the program, not by the symbol: 8 * 8192 is one too many, 1 * 8192 is not.
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   dispatch(t, "few", "norm").grid[0] = expr(t.model, symbol("rows") * constant(8192));
                 }),
                 "up to 65536 groups");
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   dispatch(t, "one", "norm").grid[0] = expr(t.model, symbol("rows") * constant(8192));
                 }),
                 "rms_norm has rows 8192"); // small enough for a device, too many for the program
}

TEST(ModelFile, RejectsPushConstantOver32Bits) {
  EXPECT_CORRUPT(edited([](TinyModel &t) {
                   program(t, "one").commands[0]->push[1] = expr(t.model, constant(uint64_t(1) << 32));
                 }),
                 "push constant 1 can be 4294967296");
}

// ---- tokenizer
// -------------------------------------------------------------------------------------------------

template <typename Edit> Status withTokenizer(Edit edit) {
  return edited([&](TinyModel &t) { edit(*t.model.tokenizer); });
}

TEST(ModelFile, AcceptsNoTokenizer) {
  EXPECT_OK(edited([](TinyModel &t) { t.model.tokenizer = nullptr; }));
}

TEST(ModelFile, RejectsMoreTokensThanTheVocabulary) {
  EXPECT_CORRUPT(
      withTokenizer([](auto &t) { t.token_lengths.push_back(0), t.kinds.push_back(fbs::TokenKind::Normal); }),
      "tokenizer has 33 tokens, the vocabulary 32");
}

TEST(ModelFile, RejectsTokenKindCount) {
  EXPECT_CORRUPT(withTokenizer([](auto &t) { t.kinds.pop_back(); }), "has 31 token kinds for 32 tokens");
}

TEST(ModelFile, RejectsTokenKind) {
  EXPECT_CORRUPT(withTokenizer([](auto &t) { t.kinds[3] = fbs::TokenKind(5); }),
                 "has unknown kind 5 for token 3");
}

TEST(ModelFile, RejectsOddMerges) {
  EXPECT_CORRUPT(withTokenizer([](auto &t) { t.merge_planes.pop_back(); }),
                 "is broken: merges have 35 bytes, no multiple of 9");
}

TEST(ModelFile, RejectsMergeId) {
  EXPECT_CORRUPT(withTokenizer([](auto &t) { t.merge_planes[0] = 32; }),
                 "is broken: merge 0 names token 32, of 32 tokens");
}

TEST(ModelFile, RejectsAddedTokenId) {
  EXPECT_CORRUPT(withTokenizer([](auto &t) { t.added[1]->id = 32; }),
                 "added token 32 outside the vocabulary of 32");
}

TEST(ModelFile, RejectsAddedTokenWithoutText) { // it would match everywhere, for ever
  EXPECT_CORRUPT(withTokenizer([](auto &t) { t.added[1]->content.clear(); }), "added token 1 without text");
}

TEST(ModelFile, RejectsPreTokenizer) {
  EXPECT_STATUS(withTokenizer([](auto &t) { t.pre_tokenizer = fbs::PreTokenizer(99); }), Code::Unsupported,
                "needs pre-tokenizer 99");
}

TEST(ModelFile, RejectsNormalizer) {
  EXPECT_STATUS(withTokenizer([](auto &t) { t.normalizer = fbs::Normalizer(4); }), Code::Unsupported,
                "needs normalizer 4");
}

TEST(ModelFile, RejectsAlphabet) {
  EXPECT_STATUS(withTokenizer([](auto &t) { t.alphabet = fbs::Alphabet(2); }), Code::Unsupported,
                "has alphabet 2");
}

TEST(ModelFile, RejectsPrefixAndSuffixIds) {
  EXPECT_CORRUPT(withTokenizer([](auto &t) { t.prefix_ids = {32}; }), "puts token 32 around texts");
  EXPECT_CORRUPT(withTokenizer([](auto &t) { t.suffix_ids = {32}; }), "puts token 32 around texts");
}

TEST(ModelFile, RejectsSpecialIds) {
  EXPECT_CORRUPT(withTokenizer([](auto &t) { t.bos_id = 32; }),
                 "has special token 32, expected -1 (none) to 31");
  EXPECT_CORRUPT(withTokenizer([](auto &t) { t.eos_id = -2; }), "has special token -2");
  EXPECT_CORRUPT(withTokenizer([](auto &t) { t.unk_id = std::numeric_limits<int64_t>::min(); }),
                 "has special token");
}

// ---- the catalog
// -----------------------------------------------------------------------------------------------

TEST(Catalog, TinyModelCoversEveryKernel) {
  TinyModel tiny = tinyModel();
  for (const catalog::Kernel &entry : catalog::Kernels) {
    EXPECT_EQ(catalog::find(entry.name), &entry);
    EXPECT_TRUE(std::any_of(tiny.model.kernels.begin(), tiny.model.kernels.end(), [&](const auto &k) {
      return k->catalog == entry.name;
    })) << entry.name;
    EXPECT_LE(entry.pushes.size(), 32u) << entry.name;
    // Every condition is a constant of the same kernel.
    for (const catalog::Binding &binding : entry.bindings)
      EXPECT_TRUE(binding.condition == "ALWAYS" ||
                  std::any_of(entry.constants.begin(), entry.constants.end(),
                              [&](const auto &c) { return c.name == binding.condition; }))
          << entry.name << " " << binding.role;
  }
  EXPECT_EQ(catalog::find("nothing"), nullptr);
}

} // namespace
} // namespace lorac
