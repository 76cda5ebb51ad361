"""A reader of model files and bundles that knows docs/formats/*.md alone: the tables there are its schema. Standard library only."""
import hashlib
import pathlib
import re
import struct

SCALARS = {"bool": "?", "ubyte": "B", "ushort": "H", "uint": "I", "ulong": "Q", "long": "q", "float": "f", "double": "d"}


class Pages:
    """Tables, structs and enums as the pages list them: {type: {field: (id or offset, type, default)}}, {enum: (type, {name: value})}."""

    def __init__(self, *paths):
        self.tables, self.structs, self.enums, self.plain = {}, {}, {}, {}
        for path in paths:
            self.read(pathlib.Path(path).read_text(encoding="utf-8"))

    def read(self, text):
        for heading, body in re.findall(r"^### (.+)\n((?:(?!^#).*\n?)*)", text, re.M):
            kind, name, note = re.fullmatch(r"(table|struct|enum) (\w+)(?: \((.+)\))?", heading).groups()
            rows = [[cell.strip() for cell in line.strip("| \n").split(" | ")] for line in body.splitlines() if line.startswith("|")]
            own = next(i for i, row in enumerate(rows) if row[0] in ("id", "offset", "value"))
            rows = [row for row in rows[own + 2:] if row[0].isdigit() and row[1].startswith("`")]
            if kind == "enum":
                self.enums[name] = note, {row[1].strip("`"): int(row[0]) for row in rows}
                continue
            fields = {}
            for row in rows:
                default = re.search(r"default ([−-]?\d+)", row[3]) if len(row) > 3 else None
                fields[row[1].strip("`")] = int(row[0]), row[2].rstrip(" |"), int(default[1].replace("−", "-")) if default else 0
            if kind == "table":
                self.tables[name] = fields
            else:
                self.structs[name] = int(note.split()[0]), fields

    def scalar(self, kind):
        """struct's letter of a scalar or an enum, or None."""
        return SCALARS.get(self.enums[kind][0] if kind in self.enums else kind)

    def size(self, kind):
        """Bytes that a number or struct takes; None for what lies elsewhere."""
        if letter := self.scalar(kind):
            return struct.calcsize(letter)
        if array := re.fullmatch(r"\[ubyte:(\d+)\]", kind):
            return int(array[1])
        return self.structs[kind][0] if kind in self.structs else None


class Reader:
    """A whole file as dictionaries. Each also says where its fields lie: `at(table, field)` is a position in the file."""

    def __init__(self, pages, data, only=None):
        """With `only`, of the root table those fields alone."""
        self.pages, self.data = pages, bytes(data)
        magic, version, required, _, offset, size = struct.unpack_from("<4sIIIQQ", self.data)
        self.kind = {b"LRCM": "Model", b"LRCA": "Adapter"}[magic]
        if (version, required, offset) != (1, 0, 64) or 64 + size > len(self.data):
            raise ValueError("the header is another")
        if hashlib.sha256(self.data[:32] + self.data[64:64 + size]).digest() != self.data[32:64]:
            raise ValueError("the metadata's digest is another")
        if self.data[68:72] != magic:
            raise ValueError("the metadata's identifier is another")
        self.end = 64 + size
        self.places = {}
        self.root = self.table(64 + self.number("I", 64), self.kind, only)

    def number(self, letter, position):
        return struct.unpack_from("<" + letter, self.data, position)[0]

    def value(self, position, kind):
        if letter := self.pages.scalar(kind):
            return self.number(letter, position)
        if kind.startswith("[ubyte:"):
            return self.data[position:position + self.pages.size(kind)]
        if kind in self.pages.structs:
            result = {field: self.value(position + offset, type) for field, (offset, type, _) in self.pages.structs[kind][1].items()}
            self.places[id(result)] = result, {field: position + entry[0] for field, entry in self.pages.structs[kind][1].items()}
            return result
        position += self.number("I", position)
        if kind == "string":
            size = self.number("I", position)
            if self.data[position + 4 + size] != 0:
                raise ValueError("a string ends without a zero")
            return self.data[position + 4:position + 4 + size].decode("utf-8")
        if kind.startswith("["):
            element = kind[1:-1]
            size = self.pages.size(element) or 4
            return [self.value(position + 4 + i * size, element) for i in range(self.number("I", position))]
        return self.table(position, kind)

    def table(self, position, name, only=None):
        vtable = position - self.number("i", position)
        slots = (self.number("H", vtable) - 4) // 2
        result, places = {}, {}
        for field, (number, kind, default) in self.pages.tables[name].items():
            if only and field not in only:
                continue
            offset = self.number("H", vtable + 4 + 2 * number) if number < slots else 0
            if offset:
                places[field] = position + offset
                result[field] = self.value(position + offset, kind)
            else:
                letter = self.pages.scalar(kind)
                result[field] = default if letter else None
        self.places[id(result)] = result, places
        return result

    def at(self, table, field):
        """Where a number, struct or offset of a table or struct lies in the file; None where it is absent."""
        return self.places[id(table)][1].get(field)


def reseal(pages, data):
    """The bytes with every digest made anew that a file of this form has: of segments, of the base, of header and metadata."""
    data = bytearray(data)

    def seal():
        size = min(struct.unpack_from("<Q", data, 24)[0], max(len(data) - 64, 0))
        data[32:64] = hashlib.sha256(bytes(data[:32]) + bytes(data[64:64 + size])).digest()
    seal()
    try:
        reader = Reader(pages, data, ("segments", "base", "fingerprint"))
        for segment in reader.root["segments"]:
            if segment["offset"] + segment["size"] <= len(data):
                place = reader.at(segment, "hash")
                data[place:place + 32] = hashlib.sha256(data[segment["offset"]:segment["offset"] + segment["size"]]).digest()
        if reader.kind == "Model":
            place = reader.at(reader.root, "fingerprint")
            data[place:place + 32] = fingerprint(reader.root)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, struct.error, RecursionError, MemoryError):
        return bytes(data)  # no longer a file of this form: the header's digest is all that can be made
    seal()
    return bytes(data)


def fingerprint(model):
    digest = hashlib.sha256()
    for tensor in model["base"]:
        digest.update(tensor["name"].encode() + b"\0" + struct.pack("<I", len(tensor["shape"])))
        digest.update(struct.pack(f"<{len(tensor['shape'])}Q", *tensor["shape"]) + tensor["hash"]["bytes"])
    return digest.digest()
