// DispatchVerifier.cpp - extents of every kernel of the catalog, as shaders/*.kernel index their bindings.
// Loops run over what the push constants say, so each of those is tied to the bytes of a view; groups beyond
// what a grid needs would repeat work, so there are none. Arithmetic saturates: what passes 2^64 fits in no
// view.
#include "runtime/files/DispatchVerifier.h"

#include "runtime/files/Container.h"
#include "schemas/Catalog.h"
#include "schemas/PackedType.h"
#include "support/Checked.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

namespace lorac {

namespace {

using container::view;

constexpr uint64_t NoSegment = 0xffffffff;
constexpr uint64_t TileRows = 8;
constexpr uint64_t SegmentTiles = 4; // segments of a joined weight start at multiples
constexpr uint64_t BlockValues = 32;
constexpr uint64_t PageTokens = 16;

uint64_t plus(uint64_t a, uint64_t b) { return checkedAdd(a, b).value_or(UINT64_MAX); }
template <typename... Rest> uint64_t times(uint64_t a, Rest... rest) {
  ((a = checkedMul(a, rest).value_or(UINT64_MAX)), ...);
  return a;
}
/// One past the last element of `rows` rows of `width`, `stride` apart.
uint64_t lastRowEnd(uint64_t rows, uint64_t stride, uint64_t width) {
  return rows == 0 ? 0 : plus(times(rows - 1, stride), width);
}

/// Where a binding of this role must lie: kernels take indices, counts and loop bounds from these, which the
/// runtime alone writes.
struct RolePlace {
  std::string_view role;
  fbs::Space space;
  fbs::StepInput input;
};
constexpr RolePlace RolePlaces[] = {
    {"rows", fbs::Space::Step, fbs::StepInput::Rows},
    {"out", fbs::Space::Step, fbs::StepInput::OutRows},
    {"pages", fbs::Space::Step, fbs::StepInput::Pages},
    {"angles", fbs::Space::Step, fbs::StepInput::Angles},
    {"stacks", fbs::Space::Step, fbs::StepInput::Stacks},
    {"items", fbs::Space::Step, fbs::StepInput::Items},
    {"pool", fbs::Space::Pool, fbs::StepInput::None},
    {"cache", fbs::Space::Cache, fbs::StepInput::None},
    {"nested", fbs::Space::Weight, fbs::StepInput::None},
};

constexpr std::string_view SiteNames[] = {"site_0", "site_1", "site_2", "site_3"};

class DispatchVerifier {
public:
  explicit DispatchVerifier(const Dispatch &dispatch)
      : dispatch(dispatch), entry(*catalog::find(view(*dispatch.kernel.catalog()))) {}

  Status run() {
    if (dispatch.grid[2] > 1)
      return corrupt() << "has " << dispatch.grid[2] << " groups along z, kernels use one";
    LORAC_TRY(checkPlaces());
    if (entry.name == "embed")
      return embed();
    if (entry.name == "rms_norm")
      return rmsNorm();
    if (entry.name == "linear")
      return linear();
    if (entry.name == "shrink")
      return shrink();
    if (entry.name == "rope")
      return rope();
    if (entry.name == "attend")
      return attend();
    if (entry.name == "gather")
      return gather();
    if (entry.name == "map")
      return map();
    return Status(Code::Internal) << "no check for kernel " << entry.name;
  }

private:
  Status corrupt() const { return Status(Code::CorruptFile) << entry.name << " "; }

  std::optional<size_t> bindingOf(std::string_view role) const {
    const auto &bindings = *dispatch.kernel.bindings();
    for (uint32_t i = 0; i < bindings.size(); ++i)
      if (view(*bindings[i]->role()) == role)
        return i;
    return std::nullopt;
  }
  uint64_t push(std::string_view name) const {
    for (size_t i = 0; i < entry.pushes.size(); ++i)
      if (entry.pushes[i].name == name)
        return dispatch.push[i];
    return 0;
  }
  uint64_t constant(std::string_view name) const {
    for (uint32_t i = 0; i < container::sizeOf(dispatch.kernel.constants()); ++i)
      if (const fbs::Constant &made = *dispatch.kernel.constants()->Get(i); view(*made.name()) == name)
        return uint64_t(made.value()); // the catalog's ranges hold no negative ones
    return 0;
  }

  /// The kernel reaches elements [0, count) of a binding, if it has it.
  Status reach(std::string_view role, uint64_t count) const {
    std::optional<size_t> i = bindingOf(role);
    if (!i)
      return Status::ok();
    const uint64_t have = dispatch.views[*i].bytes /
                          catalog::elementBytes(dispatch.kernel.bindings()->Get(uint32_t(*i))->element());
    if (count > have)
      return corrupt() << "reaches " << count << " elements of " << role << ", its view has " << have;
    return Status::ok();
  }
  Status between(std::string_view what, uint64_t value, uint64_t minimum, uint64_t maximum) const {
    if (value < minimum || value > maximum)
      return corrupt() << "has " << what << " " << value << ", expected " << minimum << " to " << maximum;
    return Status::ok();
  }
  Status pushBetween(std::string_view name, uint64_t minimum, uint64_t maximum) const {
    return between(name, push(name), minimum, maximum);
  }
  Status groups(uint64_t x, uint64_t y) const {
    LORAC_TRY(between("groups along x:", dispatch.grid[0], 0, x));
    return between("groups along y:", dispatch.grid[1], 0, y);
  }
  /// `rows` rows of `width` elements written `stride` apart: they must not overlap, or one view would take
  /// any work.
  Status writes(std::string_view role, uint64_t rows, std::string_view stride, uint64_t width) const {
    LORAC_TRY(pushBetween(stride, width, UINT32_MAX));
    return reach(role, lastRowEnd(rows, push(stride), width));
  }
  Status finite(std::string_view name, float minimum) const {
    const float value = std::bit_cast<float>(uint32_t(push(name)));
    if (!std::isfinite(value) || value < minimum)
      return corrupt() << "has " << name << " of the value " << value;
    return Status::ok();
  }

  Status checkPlaces() const {
    const auto &bindings = *dispatch.kernel.bindings();
    for (uint32_t i = 0; i < bindings.size(); ++i) {
      const std::string_view role = view(*bindings[i]->role());
      const fbs::Buffer &buffer = *dispatch.views[i].buffer;
      RolePlace place = {role, buffer.space(), buffer.input()};
      if (const RolePlace *row = std::find_if(std::begin(RolePlaces), std::end(RolePlaces),
                                              [&](const RolePlace &r) { return r.role == role; });
          row != std::end(RolePlaces))
        place = *row;
      if (buffer.space() != place.space || buffer.input() != place.input)
        return corrupt() << "takes " << role << " from space " << fbs::EnumNameSpace(buffer.space())
                         << ", step input " << fbs::EnumNameStepInput(buffer.input()) << ", expected "
                         << fbs::EnumNameSpace(place.space) << ", " << fbs::EnumNameStepInput(place.input);
      if (place.space == fbs::Space::Pool &&
          (dispatch.views[i].offset != 0 || dispatch.views[i].bytes < dispatch.poolBytes))
        return corrupt() << "takes pool from byte " << dispatch.views[i].offset << ", "
                         << dispatch.views[i].bytes << " long, expected the whole pool of "
                         << dispatch.poolBytes;
    }
    return Status::ok();
  }

  /// Values in 16 bytes of codes; WEIGHT is within the catalog's range.
  uint64_t pieceValues() const { return packed::pieceValues(packed::Code(constant("WEIGHT"))); }
  /// What a packed type has beside its codes, for `tiles` of rows of `in` values.
  Status planes(uint64_t tiles, uint64_t in) const {
    const uint64_t group = constant("GROUP");
    if (group != 0 && in % group != 0)
      return corrupt() << "has rows of " << in << " values in groups of " << group;
    const uint64_t groups = group == 0 ? 1 : in / group;
    const bool words = group == 0 || packed::isTable(packed::Code(constant("WEIGHT")));
    LORAC_TRY(reach("scales", constant("NESTED") != 0
                                  ? times(tiles, groups, 2)
                                  : times(tiles, words ? groups : ceilDiv(groups, 2), TileRows)));
    LORAC_TRY(reach("pairs", times(tiles, ceilDiv(groups, 2), TileRows)));
    return reach("map", packed::MapValues);
  }

  Status embed() const {
    const uint64_t pieces = push("pieces"), y = pieces * (pieceValues() / 4);
    LORAC_TRY(pushBetween("pieces", 1, UINT32_MAX / 32));
    LORAC_TRY(groups(pieces, dispatch.rows));
    const uint64_t tiles = ceilDiv(push("table_rows"), TileRows);
    LORAC_TRY(reach("table", times(tiles, pieces, TileRows)));
    LORAC_TRY(planes(tiles, pieces * pieceValues()));
    LORAC_TRY(reach("rows", dispatch.grid[1]));
    return writes("y", dispatch.grid[1], "y_stride", y);
  }

  Status rmsNorm() const {
    const uint64_t features = push("features"), segments = constant("SEGMENTS");
    uint64_t rows = dispatch.grid[0] * dispatch.grid[1];
    LORAC_TRY(pushBetween("features", 1, UINT32_MAX));
    if (segments != 0) {
      rows = push("rows");
      LORAC_TRY(groups(plus(rows, push("items")), 1));
      LORAC_TRY(items("features", segments));
    }
    LORAC_TRY(between("rows", rows, 0, dispatch.rows));
    LORAC_TRY(reach("x", lastRowEnd(rows, push("x_stride"), ceilDiv(features, 4))));
    LORAC_TRY(reach("weight", ceilDiv(features, 4)));
    LORAC_TRY(finite("epsilon_bits", 0));
    return writes("y", rows, "y_stride", features);
  }

  /// A site that the dispatch serves: its record in the pool describes A and B of its own shape.
  /// The kernel reads the first `tiles` of its outputs' tiles at most.
  Status servesSite(std::string_view name, uint64_t inFeatures, uint64_t tiles) const {
    const auto &sites = *dispatch.model.sites();
    const uint64_t number = push(name);
    LORAC_TRY(pushBetween(name, 0, sites.size()));
    if (number == sites.size()) // the null record: rank 0
      return Status::ok();
    const fbs::Site &site = *sites[uint32_t(number)];
    const uint64_t own = ceilDiv(site.out_features(), TileRows);
    if (site.in_features() != inFeatures || tiles > roundUp(own, SegmentTiles))
      return corrupt() << "serves site " << container::quoted(*site.name()) << " (" << site.in_features()
                       << " features to " << site.out_features() << ") with " << inFeatures
                       << " features and " << tiles << " tiles";
    return Status::ok();
  }

  Status linear() const {
    static constexpr std::string_view SegmentNames[] = {"segment_1", "segment_2", "segment_3"};
    const uint64_t rows = push("rows"), in = push("in_features"), tiles = push("tiles");
    const bool combined = constant("COMBINE") == 2;
    LORAC_TRY(pushBetween("rows", 0, dispatch.rows));
    LORAC_TRY(pushBetween("in_features", 1, UINT32_MAX));
    LORAC_TRY(pushBetween("tiles", 1, UINT32_MAX / TileRows));
    // Two groups share a word of scales, but for the types whose scales are f32 or codes.
    const bool shared = constant("GROUP") != 0 && !packed::isTable(packed::Code(constant("WEIGHT")));
    const uint64_t whole = shared ? 2 * constant("GROUP") : BlockValues;
    if (in % whole != 0 && constant("TAIL") == 0)
      return corrupt() << "has in_features " << in << ", without TAIL it takes multiples of " << whole;
    // TILES counts for 8 lanes; a variant with more lanes takes fewer tiles a lane.
    LORAC_TRY(groups(ceilDiv(tiles, constant("TILES")), ceilDiv(rows, constant("ROWS"))));

    // Segments ascend; those that are absent come last. This dispatch has a window of the joined weight's
    // tiles.
    const uint64_t first = push("first_tile"), end = first + tiles;
    if (combined && first != 0)
      return corrupt() << "combines 2 segments from tile " << first << ", expected 0";
    uint64_t starts[std::size(SiteNames) + 1] = {0};
    size_t segments = 1;
    for (std::string_view segment : SegmentNames) {
      const uint64_t start = push(segment);
      if (start == NoSegment)
        continue;
      const bool fits = combined ? segments == 1 && start >= tiles : start > starts[segments - 1];
      if (segment != SegmentNames[segments - 1] || !fits || start % SegmentTiles != 0)
        return corrupt() << "has " << segment << " at tile " << start << " of " << tiles
                         << ", expected multiples of " << SegmentTiles << " that ascend, then none";
      starts[segments++] = start;
    }
    if (combined && segments != 2)
      return corrupt() << "combines 2 segments and has " << segments;
    const uint64_t joined = combined ? plus(starts[1], tiles) : tiles;
    const uint64_t pieces = ceilDiv(in, pieceValues());
    LORAC_TRY(reach("weight", times(joined, pieces, TileRows)));
    LORAC_TRY(planes(joined, in));
    LORAC_TRY(reach("bias", times(joined, TileRows)));
    LORAC_TRY(pushBetween("x_stride", ceilDiv(in, 4), UINT32_MAX));
    LORAC_TRY(reach("x", times(rows, push("x_stride"))));
    if (constant("HEAD") != 0)
      LORAC_TRY(heads(segments, starts));
    else
      LORAC_TRY(writes("y", rows, "y_stride", tiles * TileRows));
    for (std::string_view operand : {"operand0", "operand1"})
      LORAC_TRY(reach(operand, lastRowEnd(rows, push("y_stride"), tiles * TileRows)));

    if (constant("ADAPTERS") == 0)
      return Status::ok();
    starts[segments] = UINT64_MAX;
    for (size_t i = 0; i < segments; ++i) {
      // A workgroup's tiles take the segment of the first of them, which starts at a multiple of what it
      // holds.
      const uint64_t last = std::min(end, starts[i + 1]);
      const uint64_t reached = combined                                    ? tiles
                               : last > starts[i] && starts[i + 1] > first ? last - starts[i]
                                                                           : 0;
      LORAC_TRY(servesSite(SiteNames[i], in, reached));
    }
    LORAC_TRY(reach("stacks", dispatch.rows));
    LORAC_TRY(reach("items", push("items")));
    if (constant("T_PARTS") != 1 && segments != 1)
      return corrupt() << "adds " << constant("T_PARTS") << " parts of t with " << segments
                       << " segments, expected 1";
    LORAC_TRY(reach("t", times(segments, constant("T_PARTS"), push("items"), 2)));
    return reach("out", rows);
  }

  /// A linear whose segments, which begin at the tiles `starts`, are q, k and v in heads of HEAD values.
  Status heads(uint64_t segments, std::span<const uint64_t> starts) const {
    const uint64_t head = constant("HEAD"), headTiles = head / TileRows, tiles = push("tiles"),
                   rows = push("rows");
    if (head % BlockValues != 0 || head % (constant("TILES") * TileRows) != 0 || constant("TILES") % 2 != 0)
      return corrupt() << "has heads of " << head << " with TILES " << constant("TILES")
                       << ", expected a multiple of 32 in even numbers of tiles";
    if (segments != 3 || push("first_tile") != 0 || constant("COMBINE") != 1)
      return corrupt() << "has " << segments << " segments from tile " << push("first_tile")
                       << ", expected q, k and v from tile 0, apart";
    const uint64_t kvTiles = starts[2] - starts[1];
    if (starts[1] % headTiles != 0 || kvTiles % headTiles != 0 || plus(starts[2], kvTiles) != tiles)
      return corrupt() << "has q, k and v at tiles 0, " << starts[1] << " and " << starts[2] << " of "
                       << tiles << ", expected whole heads of " << headTiles
                       << " tiles, and as many of v as of k";
    LORAC_TRY(reach("rows", rows));
    LORAC_TRY(angles(rows, head));
    LORAC_TRY(cache(kvTiles / headTiles, true));
    return writes("y", rows, "y_stride", starts[1] * TileRows);
  }

  /// What makes t of every item at the first `segments` sites of `in` features, a part of it in each of
  /// `parts`.
  Status shrinks(uint64_t in, uint64_t segments, uint64_t parts) const {
    for (size_t i = 0; i < segments; ++i)
      LORAC_TRY(servesSite(SiteNames[i], in, 0));
    LORAC_TRY(reach("items", push("items")));
    return reach("t", times(segments, parts, push("items"), TileRows));
  }

  /// The same from a binding x; `features` names how many values of it.
  Status items(std::string_view features, uint64_t segments) const {
    const uint64_t in = push(features);
    if (in % BlockValues != 0 && constant("TAIL") == 0)
      return corrupt() << "has " << features << " " << in << ", without TAIL it takes multiples of "
                       << BlockValues;
    LORAC_TRY(shrinks(in, segments, 1));
    LORAC_TRY(pushBetween("x_stride", ceilDiv(in, 4), UINT32_MAX));
    const bool gathered = constant("GATHERED") != 0;
    LORAC_TRY(reach("x", times(gathered ? dispatch.outRows : dispatch.rows, push("x_stride"))));
    return reach("rows", dispatch.rows);
  }

  Status shrink() const {
    LORAC_TRY(pushBetween("in_features", 1, UINT32_MAX));
    LORAC_TRY(groups(push("items"), 1));
    return items("in_features", constant("SEGMENTS"));
  }

  Status cache(uint64_t kvHeads, bool isF32) const {
    const std::optional<size_t> i = bindingOf("cache");
    const uint64_t element = catalog::elementBytes(dispatch.kernel.bindings()->Get(uint32_t(*i))->element());
    // Keys or values of one head in a page.
    const uint64_t headBytes = PageTokens * roundUp(constant("HEAD"), 8) * (isF32 ? 4 : 2);
    return reach("cache", times(dispatch.pages, kvHeads, 2 * headBytes) / element);
  }
  /// The table of angles, if the kernel has one: of heads of this size.
  Status angles(uint64_t rows, uint64_t head) const {
    const std::optional<size_t> i = bindingOf("angles");
    if (!i)
      return Status::ok();
    const uint64_t frequencies =
        dispatch.model.angles()->Get(dispatch.views[*i].buffer->angles())->frequencies()->size();
    if (frequencies != head / 2)
      return corrupt() << "rotates heads of " << head << " by a table of " << frequencies << " frequencies";
    return reach("angles", times(rows, roundUp(2 * frequencies, 4)));
  }

  Status rope() const {
    const uint64_t head = constant("HEAD"), q = push("q_heads"), kv = push("kv_heads"),
                   rows = dispatch.grid[1];
    LORAC_TRY(groups(plus(q, times(kv, 2)), dispatch.rows));
    LORAC_TRY(reach("q", lastRowEnd(rows, push("q_stride"), plus(push("q_column"), times(q, head)))));
    LORAC_TRY(reach("k", lastRowEnd(rows, push("k_stride"), plus(push("k_column"), times(kv, head)))));
    LORAC_TRY(reach("v", lastRowEnd(rows, push("v_stride"), plus(push("v_column"), times(kv, head)))));
    LORAC_TRY(reach("rows", rows));
    LORAC_TRY(angles(rows, head));
    LORAC_TRY(cache(kv, constant("CACHE_F32") != 0));
    return writes("y", rows, "y_stride", times(q, roundUp(head, BlockValues)));
  }

  Status attend() const {
    const uint64_t head = constant("HEAD"), together = constant("HEADS"), kv = push("kv_heads"),
                   group = push("group"), rows = dispatch.grid[1];
    if (group == 0 || group % together != 0)
      return corrupt() << "has group " << group << ", expected a multiple of HEADS = " << together;
    LORAC_TRY(groups(times(kv, group / together), dispatch.rows));
    const uint64_t heads = times(kv, group);
    LORAC_TRY(reach("q", lastRowEnd(rows, push("q_stride"), times(heads, ceilDiv(head, BlockValues), 8))));
    LORAC_TRY(reach("rows", rows));
    LORAC_TRY(cache(kv, constant("CACHE_F32") != 0));
    LORAC_TRY(finite("scale_bits", -INFINITY));
    if (constant("SEGMENTS") != 0) {
      if (head % BlockValues != 0)
        return corrupt() << "shrinks heads of " << head << ", expected a multiple of " << BlockValues;
      LORAC_TRY(shrinks(times(heads, head), 1, times(kv, group / together)));
      LORAC_TRY(reach("stacks", rows));
    }
    return writes("y", rows, "y_stride", times(heads, head));
  }

  Status gather() const {
    const uint64_t width = push("width"), rows = dispatch.grid[1];
    LORAC_TRY(groups(width, dispatch.outRows));
    LORAC_TRY(reach("x", lastRowEnd(dispatch.rows, push("x_stride"), width)));
    LORAC_TRY(reach("out", rows));
    return writes("y", rows, "y_stride", width);
  }

  Status map() const {
    const uint64_t width = push("width"), rows = dispatch.grid[1];
    LORAC_TRY(groups(width, dispatch.rows));
    LORAC_TRY(reach("operand0", lastRowEnd(rows, push("stride0"), plus(push("column0"), width))));
    LORAC_TRY(reach("operand1", lastRowEnd(rows, push("stride1"), plus(push("column1"), width))));
    return writes("y", rows, "y_stride", width);
  }

  const Dispatch &dispatch;
  const catalog::Kernel &entry;
};

} // namespace

Status verifyDispatch(const Dispatch &dispatch) { return DispatchVerifier(dispatch).run(); }

bool pushMayVary(std::string_view name) { return name == "rows" || name == "items"; }

} // namespace lorac
