#!/usr/bin/env python3
"""docs/formats/*.md against the schemas and against files: formats.py --lorac PROGRAM

Each table, struct and enum of schemas/*.fbs stands on a page with every field, its id or offset, its type and whether it is required; likewise
the lists of symbols and features. A reader made of the pages alone reads what `lorac compile` and `lorac adapter` write, checks every
digest, and finds what `lorac inspect --json` prints."""
import argparse
import hashlib
import json
import pathlib
import re
import shutil
import struct
import sys
import tempfile
import unittest

import harness
import model_reader

LORAC = None
SCHEMAS = harness.ROOT / "schemas"
PAGES = [harness.ROOT / "docs" / "formats" / name for name in ("model.md", "adapter.md")]
SIZES = {"bool": 1, "ubyte": 1, "ushort": 2, "float": 4, "uint": 4, "ulong": 8, "long": 8, "double": 8}


def read_schema(text):
    """{(kind, name): [(field, type, default, required)]}, of enums [(name, value)] under (kind, name, type)."""
    text = re.sub(r"//.*", "", text)
    found = {}
    for kind, name, base, body in re.findall(r"\b(table|struct|enum|union)\s+(\w+)\s*(?::\s*(\w+)\s*)?\{([^}]*)\}", text):
        if kind in ("enum", "union"):
            members = [entry.strip() for entry in body.split(",") if entry.strip()]
            if any("=" in member for member in members):
                raise AssertionError(f"{name} numbers its values itself; teach this test to read that")
            found[kind, name, base] = [(member, value) for value, member in enumerate(members)]
        else:
            fields = re.findall(r"(\w+)\s*:\s*([\[\]\w:]+)\s*(?:=\s*(-?\w+))?\s*(\(required\))?\s*;", body)
            if len(fields) != body.count(";"):
                raise AssertionError(f"{name}: {body.count(';')} fields, {len(fields)} of them understood")
            found[kind, name] = [(field, type, int(default) if default else 0, bool(required)) for field, type, default, required in fields]
    return found


def alignment(kind, schema):
    if kind in SIZES:
        return SIZES[kind]
    if kind.startswith("[ubyte:"):
        return 1
    if ("struct", kind) in schema:
        return max(alignment(field[1], schema) for field in schema["struct", kind])
    return 1  # an enum: all are ubyte


def size_of(kind, schema):
    if kind.startswith("[ubyte:"):
        return int(kind[7:-1])
    if ("struct", kind) in schema:
        return struct_layout(kind, schema)[0]
    return SIZES.get(kind, 1)


def struct_layout(name, schema):
    """(size, {field: offset}) by FlatBuffers' rules, which are C's."""
    position, offsets = 0, {}
    for field, kind, _, _ in schema["struct", name]:
        position += -position % alignment(kind, schema)
        offsets[field] = position
        position += size_of(kind, schema)
    return position + -position % alignment(name, schema), offsets


def differences(schema, pages, page_text):
    """What the pages say otherwise than the schema, or not at all."""
    wrong, known = [], set()
    for key, entries in schema.items():
        kind, name = key[:2]
        known.add(name)
        if kind in ("enum", "union"):
            want = key[2], dict(entries)
            if pages.enums.get(name) != want:
                wrong.append(f"enum {name}: the page has {pages.enums.get(name)}, the schema {want}")
            continue
        have = pages.tables.get(name) if kind == "table" else pages.structs.get(name, (0, None))[1]
        if have is None:
            wrong.append(f"{kind} {name} stands on no page")
            continue
        if kind == "table":
            want = {field: (number, type, default) for number, (field, type, default, _) in enumerate(entries)}
            section = page_text.split(f"### table {name}\n")[1].split("\n#")[0]
            for field, _, _, required in entries:
                row = re.search(rf"^\|.*`{field}`.*$", section, re.M)
                if row and ("**required**" in row[0]) != required:
                    wrong.append(f"{name}.{field}: the page and the schema differ in whether it is required")
        else:
            size, offsets = struct_layout(name, schema)
            want = {field: (offsets[field], type, 0) for field, type, _, _ in entries}
            if pages.structs[name][0] != size:
                wrong.append(f"struct {name}: the page says {pages.structs[name][0]} bytes, it has {size}")
        for field in want.keys() | have.keys():
            if want.get(field) != have.get(field):
                wrong.append(f"{name}.{field}: the page has {have.get(field)}, the schema {want.get(field)}")
    for name in (pages.tables.keys() | pages.structs.keys() | pages.enums.keys()) - known:
        wrong.append(f"{name} is on a page and in no schema")
    return wrong


class Pages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.schema_text = "".join((SCHEMAS / name).read_text(encoding="utf-8") for name in ("common.fbs", "model.fbs", "adapter.fbs"))
        cls.page_text = "".join(path.read_text(encoding="utf-8") for path in PAGES)
        cls.pages = model_reader.Pages(*PAGES)

    def differences(self, schema_text):
        return differences(read_schema(schema_text), self.pages, self.page_text)

    def test_every_field_is_named(self):
        self.assertEqual(self.differences(self.schema_text), [])

    def test_a_field_that_the_page_lacks_is_found(self):
        edits = {"Model.novel": ("  chains:[Chain];\n}\nroot_type Model", "  chains:[Chain];\n  novel:uint;\n}\nroot_type Model"),
                 "Adapter.novel": ("  treatments:[Treatment];", "  treatments:[Treatment];\n  novel:[ulong];"),
                 "ExprTerm.novel": ("value:ulong; op:ExprOp;", "value:ulong; op:ExprOp; novel:ubyte;"),
                 "Weight.rows": ("type:WeightType; rows:ulong; cols:ulong", "type:WeightType; cols:ulong; rows:ulong"),
                 "Site.name": ("table Site { name:string (required)", "table Site { name:string"),
                 "enum Space": ("Pool, Step, Out", "Pool, Step, Out, Novel"),
                 "table Novel": ("table Expr {", "table Novel { x:uint; }\ntable Expr {")}
        for what, (old, new) in edits.items():
            with self.subTest(what):
                self.assertEqual(self.schema_text.count(old), 1)
                found = self.differences(self.schema_text.replace(old, new))
                self.assertTrue(any(what in difference for difference in found), found)

    def test_symbols_and_features(self):
        symbols = re.findall(r'^SYMBOL\((\w+), (\w+), (\d+), "', (SCHEMAS / "Symbols.def").read_text(), re.M)
        listed = re.findall(r"^\| `(\w+)` \| (Load|Step) \| (\d+) \|", self.page_text, re.M)
        self.assertEqual(listed, symbols)
        features = re.findall(r'^FEATURE\((\w+), (\d+), "(.*)"\)', (SCHEMAS / "Features.def").read_text(), re.M)
        table = self.page_text.split("| feature | bit |")[1].split("\n\n")[0]
        self.assertEqual(re.findall(r"^\| `(\w+)` \| (\d+) \| (.*?) \|$", table, re.M), features)

    def test_step_records(self):
        text = (SCHEMAS / "StepTable.h").read_text()
        for name, section in (("Rows", "RowRecord"), ("OutRows", "OutRecord"), ("Stacks", "StackRecord"), ("Entries", "EntryRecord"), ("Items", "ItemRecord")):
            body = re.search(rf"struct {section} \{{(.*?)\}};", text, re.S)[1]
            offsets, position = [], 0
            for field, count in re.findall(r"uint32_t (\w+)(?:\[(\d)\])?;", body):
                offsets.append(f"{position}: " if not count else f"{position} to {position + 4 * int(count) - 1}: ")
                position += 4 * int(count or 1)
            row = re.search(rf"^\| {name} \| (\d+) bytes.*$", self.page_text, re.M)
            self.assertEqual(int(row[1]), position, name)
            self.assertEqual(re.findall(r"\d+(?: to \d+)?: ", row[0].split(" | ")[2]), offsets, name)


class Files(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="lorac-test-")
        cls.addClassCleanup(cls.folder.cleanup)
        folder = pathlib.Path(cls.folder.name)
        golden = harness.GOLDENS / "llama-odd"
        cls.model, cls.bundle = folder / "odd.lorac", folder / "odd.lora"
        LORAC.ok("compile", golden, "-o", cls.model, "--max-rows", 1)
        LORAC.ok("adapter", golden / "adapters" / "all-r8", "--base", cls.model, "-o", cls.bundle)
        cls.pages = model_reader.Pages(*PAGES)

    def read(self, path):
        reader = model_reader.Reader(self.pages, path.read_bytes())
        end, codes = 64, reader.root.get("first_weight_segment", 0)
        for number, segment in enumerate(reader.root["segments"]):
            self.assertEqual(segment["offset"] % (64 if number < codes else 4096), 0)
            self.assertFalse(any(reader.file[end:segment["offset"]]))
            end = segment["offset"] + segment["size"]
            self.assertEqual(hashlib.sha256(reader.file[segment["offset"]:end]).digest(), segment["hash"]["bytes"])
        self.assertEqual((reader.offset, reader.offset + reader.size), (end, len(reader.file)))
        return reader

    def inspect(self, path):
        return json.loads(LORAC.ok("inspect", path, "--json"))

    def test_tokens_and_merges(self):
        """By the page's words about the table Tokenizer."""
        texts = ["a", "b", "c", "<s>", "cab", "ab", "abc", "bc"]  # abc is of two merges; the second, bc, is a side before it is made
        merges = [("a", "b"), ("ab", "c"), ("c", "ab"), ("a", "bc"), ("b", "c")]
        with harness.temporary_folder() as name:
            folder = pathlib.Path(name)
            for file in "config.json", "model.safetensors":
                shutil.copy(harness.GOLDENS / "llama-odd" / file, folder)
            (folder / "tokenizer.json").write_text(json.dumps({
                "added_tokens": [{"id": 3, "content": "<s>", "special": True}],
                "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False}, "decoder": {"type": "ByteLevel"},
                "model": {"type": "BPE", "vocab": {text: i for i, text in enumerate(texts)}, "merges": [f"{a} {b}" for a, b in merges]}}))
            LORAC.ok("compile", folder, "-o", folder / "text.lorac", "--max-rows", 1)
            table = self.read(folder / "text.lorac").root["tokenizer"]
        planes, written, begin = bytes(table["merge_planes"]), [], 0
        count, following = len(planes) // 9, 0
        for length in table["token_lengths"]:
            written.append(bytes(table["token_texts"][begin:begin + length]).decode())
            begin += length
        self.assertEqual(begin, len(table["token_texts"]))
        self.assertEqual(written, ["a", "b", "c", "<s>", "", "", "", "bc"])
        found = []
        for rank in range(count):
            left, right, more = (sum(planes[(3 * field + byte) * count + rank] << 8 * byte for byte in range(3)) for field in range(3))
            product = (following + more) % 2**24
            following = product + 1
            found.append((written[left], written[right]))
            self.assertIn(written[product], ("", written[left] + written[right]))
            written[product] = written[left] + written[right]
        self.assertEqual((written, found), (texts, merges))

    def test_model(self):
        reader, shown = self.read(self.model), self.inspect(self.model)
        root = reader.root
        self.assertEqual(model_reader.fingerprint(root), root["fingerprint"]["bytes"])
        self.assertEqual(root["fingerprint"]["bytes"].hex(), shown["fingerprint"])
        for field in "version", "vocab_size", "max_context", "max_rows", "page_tokens", "weight_bytes":
            self.assertEqual(root[field], shown[field], field)
        self.assertEqual([{key: site[key] for key in ("name", "in_features", "out_features")} for site in root["sites"]], shown["sites"])
        self.assertEqual([(w["name"], w["rows"], w["cols"], w["size"]) for w in root["weights"]],
                         [(w["name"], w["rows"], w["cols"], w["bytes"]) for w in shown["weights"]])
        self.assertEqual([(t["name"], t["shape"], t["hash"]["bytes"].hex()) for t in root["base"]],
                         [(t["name"], t["shape"], t["sha256"]) for t in shown["base"]])
        self.assertEqual([(k["name"], k["catalog"], [(v["name"], v["lanes"], v["size"]) for v in k["variants"]]) for k in root["kernels"]],
                         [(k["name"], k["catalog"], [(v["name"], v["lanes"], v["bytes"]) for v in k["variants"]]) for k in shown["kernels"]])
        dispatch = self.pages.enums["CommandKind"][1]["Dispatch"]
        self.assertEqual([(p["name"], p["rows_min"], p["rows_max"], p["adapters"], sum(c["kind"] == dispatch for c in p["commands"])) for p in root["programs"]],
                         [(p["name"], p["rows_min"], p["rows_max"], p["adapters"], p["dispatches"]) for p in shown["programs"]])
        self.assertEqual({s["name"] for s in root["symbols"]}, {"rows", "out_rows", "items", "pages", "max_pages", "max_items", "max_entries", "pool_bytes", "plain_rows", "adapted_rows"})
        self.assertIsNone(root["signature"])

    def test_modules_are_packed_as_the_page_says(self):
        reader = self.read(self.model)
        root = reader.root
        segment = root["segments"][0]
        code = model_reader.decompress(reader.file[segment["offset"]:segment["offset"] + segment["size"]])
        for variant in (variant for owner in root["kernels"] + root["chains"] for variant in owner["variants"]):
            words = struct.unpack_from(f"<{variant['size'] // 4}I", code, variant["offset"])
            count, outside = words[:2]
            # (kind, value, opcode of the instruction) of each word.
            rest, told, end, opcode = iter(words[2:]), [], 5, 0
            for word in rest:
                kind, value = word >> 30, word & 0x3FFFFFFF
                if (kind, value) == (1, 1):
                    kind, value = 0, next(rest)
                if len(told) == end:
                    opcode, end = value % 1024, end + (value >> 16)
                told.append((kind, value, opcode))
            self.assertEqual(len(told), count)
            made, names, seen, module, following = {}, {}, {}, [], outside + 1
            for kind, value, opcode in told:
                if kind == 1:
                    self.assertEqual(value, 0)
                    made.setdefault(opcode, []).append(following)
                    following += 1
            for kind, value, opcode in told:
                if kind == 1:
                    module.append(made[opcode][seen.get(opcode, 0)])
                    seen[opcode] = seen.get(opcode, 0) + 1
                elif kind == 2:
                    module.append(made[value >> 20][(seen.get(value >> 20, 0) - value) % 2**20])
                elif kind == 3:
                    module.append(names.setdefault(value, len(names) + 1))
                else:
                    module.append(value)
            self.assertEqual(len(names), outside)
            # SPIR-V 2.3: the header says one more than the highest id; instructions lie end to end up to the last.
            self.assertEqual((module[0], module[3]), (0x07230203, following))
            at, opcodes = 5, set()
            while at < count:
                opcodes.add(module[at] & 0xFFFF)
                at += module[at] >> 16
            self.assertEqual(at, count)
            self.assertLessEqual({14, 15, 16, 54, 56}, opcodes)  # memory model, entry point, execution mode, function and its end

    def test_weights_lie_where_the_page_says(self):
        """f16 values of a matrix with odd sizes, read by the page's formula, against the checkpoint's."""
        reader = self.read(self.model)
        root = reader.root
        space = b"".join(reader.file[s["offset"]:s["offset"] + s["size"]] for s in root["segments"][root["first_weight_segment"]:])
        checkpoint = harness.read_safetensors(harness.GOLDENS / "llama-odd" / "model.safetensors")
        f16 = self.pages.enums["WeightType"][1]["F16"]
        checked = 0
        for weight in root["weights"]:
            if weight["type"] != f16 or not weight["name"].endswith("q_proj.weight"):
                continue  # q of Hugging Face order, not a permuted GGUF
            dtype, shape, data = checkpoint[weight["name"]]
            values = harness.floats(dtype, data)
            pieces = -(-weight["cols"] // 8)
            for r in range(weight["rows"]):
                for k in range(weight["cols"]):
                    at = weight["offset"] + ((r // 8 * pieces + k // 8) * 8 + r % 8) * 16 + k % 8 * 2
                    want = struct.unpack("<e", struct.pack("<e", values[r * shape[1] + k]))[0]
                    self.assertEqual(struct.unpack_from("<e", space, at)[0], want, (weight["name"], r, k))
                    checked += 1
        self.assertGreater(checked, 1000)

    def test_bundle(self):
        reader, shown = self.read(self.bundle), self.inspect(self.bundle)
        root = reader.root
        self.assertEqual((root["name"], root["adapter_version"], root["bound_by_user"]), (shown["name"], shown["adapter_version"], shown["bound_by_user"]))
        self.assertEqual([f["bytes"].hex() for f in root["fingerprints"]], shown["fingerprints"])
        self.assertEqual([(s["name"], s["in_features"], s["out_features"], s["rank"], s["scaling"], s["has_bias"]) for s in root["sites"]],
                         [(s["name"], s["in_features"], s["out_features"], s["rank"], s["scaling"], s["bias"]) for s in shown["sites"]])
        self.assertEqual([(t["item"], t["verdict"]) for t in root["treatments"]], [(t["item"], t["verdict"]) for t in shown["treatments"]])
        # A of every site, by the page's formula.
        source = harness.read_safetensors(harness.GOLDENS / "llama-odd" / "adapters" / "all-r8" / "adapter_model.safetensors")
        image = reader.file[root["segments"][0]["offset"]:]
        c, letter = (8, "e") if root["type"] == self.pages.enums["AdapterType"][1]["F16"] else (4, "f")
        for site in root["sites"]:
            dtype, shape, data = source[f"base_model.model.{site['name']}.lora_A.weight"]
            values = harness.floats(dtype, data)
            pieces = -(-site["in_features"] // c)
            for r in range(site["rank"]):
                for k in range(site["in_features"]):
                    at = site["a_offset"] + ((r // 8 * pieces + k // c) * 8 + r % 8) * 16 + k % c * (16 // c)
                    want = struct.unpack("<" + letter, struct.pack("<" + letter, values[r * shape[1] + k]))[0]
                    self.assertEqual(struct.unpack_from("<" + letter, image, at)[0], want, (site["name"], r, k))

    def test_resealing_changes_nothing(self):
        for path in self.model, self.bundle:
            self.assertEqual(model_reader.reseal(self.pages, path.read_bytes()), path.read_bytes())

    def test_the_same_metadata_in_another_frame(self):
        for path in self.model, self.bundle:
            data, other = path.read_bytes(), path.with_name(f"other{path.suffix}")
            other.write_bytes(model_reader.replace_metadata(data, model_reader.metadata(data)))
            self.assertEqual(self.read(other).root, self.read(path).root)
            LORAC.ok("inspect", other, "--verify")

    def test_a_changed_byte_of_a_segment_resealed(self):
        for path in self.model, self.bundle:
            data, other = bytearray(path.read_bytes()), path.with_name(f"other{path.suffix}")
            last = self.read(path).root["segments"][-1]
            data[last["offset"] + last["size"] // 2 & ~3] ^= 1  # a value's lowest bit: it stays finite
            other.write_bytes(data)
            self.assertIn("segment", LORAC.call("inspect", other, "--verify").stderr)
            other.write_bytes(model_reader.reseal(self.pages, data))
            self.read(other)
            LORAC.ok("inspect", other, "--verify")


def main():
    global LORAC
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lorac", required=True)
    arguments, rest = parser.parse_known_args()
    LORAC = harness.Lorac(arguments.lorac)
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
