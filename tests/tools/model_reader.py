"""A reader of model files and bundles that knows docs/formats/*.md alone: the tables there are its schema. Standard library only,
and the system's libzstd."""
import ctypes
import hashlib
import pathlib
import re
import struct

SCALARS = {"bool": "?", "ubyte": "B", "ushort": "H", "uint": "I", "ulong": "Q", "long": "q", "float": "f", "double": "d"}
MAX_METADATA = 64 << 20


def load_zstd():
    library, size = ctypes.CDLL("libzstd.so.1"), ctypes.c_size_t
    for name, result, *parameters in (("ZSTD_getFrameContentSize", ctypes.c_ulonglong, ctypes.c_char_p, size),
                                      ("ZSTD_findFrameCompressedSize", size, ctypes.c_char_p, size),
                                      ("ZSTD_decompress", size, ctypes.c_char_p, size, ctypes.c_char_p, size),
                                      ("ZSTD_compressBound", size, size),
                                      ("ZSTD_compress", size, ctypes.c_char_p, size, ctypes.c_char_p, size, ctypes.c_int),
                                      ("ZSTD_isError", ctypes.c_uint, size)):
        function = getattr(library, name)
        function.restype, function.argtypes = result, parameters
    return library


ZSTD = load_zstd()


def decompress(frame):
    """The content of one frame of Zstandard that says how long it is."""
    size = ZSTD.ZSTD_getFrameContentSize(frame, len(frame))
    if size > MAX_METADATA:  # also where the frame does not say it, or is none: the two largest numbers
        raise ValueError(f"the metadata's frame does not say that it holds at most {MAX_METADATA} bytes")
    if ZSTD.ZSTD_findFrameCompressedSize(frame, len(frame)) != len(frame):
        raise ValueError("the metadata's frame does not end with it")
    content = ctypes.create_string_buffer(size)
    if ZSTD.ZSTD_decompress(content, size, frame, len(frame)) != size:
        raise ValueError("the metadata's frame is damaged")
    return content.raw


def compress(content):
    frame = ctypes.create_string_buffer(ZSTD.ZSTD_compressBound(len(content)))
    size = ZSTD.ZSTD_compress(frame, len(frame), bytes(content), len(content), 3)
    if ZSTD.ZSTD_isError(size):
        raise MemoryError("libzstd cannot compress the metadata")
    return frame.raw[:size]


def frame_range(data):
    """(offset, size) of the metadata's frame in a file, as the header says."""
    return struct.unpack_from("<QQ", data, 16)


def metadata(data):
    """What a file's frame holds: the FlatBuffer."""
    offset, size = frame_range(data)
    if offset < 64 or offset + size > len(data):
        raise ValueError("the metadata lies outside the file")
    return decompress(bytes(data[offset:offset + size]))


def replace_metadata(data, content):
    """The file with another FlatBuffer and the header that fits it; all else stays."""
    offset, size = frame_range(data)
    frame = compress(content)
    return seal(data[:24] + struct.pack("<Q", len(frame)) + data[32:offset] + frame + data[offset + size:])


def digest(data):
    """Of header and metadata, as the header should have it."""
    offset, size = frame_range(data)
    return hashlib.sha256(bytes(data[:32]) + bytes(data[offset:offset + size])).digest()


def seal(data):
    """The file with the header's digest made anew."""
    return bytes(data[:32]) + digest(data) + bytes(data[64:])


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
    """A whole file as dictionaries. Each also says where its fields lie: `at(table, field)` is a position in `data`, the FlatBuffer."""

    def __init__(self, pages, data, only=None):
        """With `only`, of the root table those fields alone."""
        self.pages, self.file = pages, bytes(data)
        magic, version, required = struct.unpack_from("<4sII", self.file)
        self.kind = {b"LRCM": "Model", b"LRCA": "Adapter"}[magic]
        if (version, required) != (2, 0):
            raise ValueError("the header is another")
        if digest(self.file) != self.file[32:64]:
            raise ValueError("the metadata's digest is another")
        self.offset, self.size = frame_range(self.file)
        self.data = metadata(self.file)
        if self.data[4:8] != magic:
            raise ValueError("the metadata's identifier is another")
        self.places = {}
        self.root = self.table(self.number("I", 0), self.kind, only)

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
        """Where a number, struct or offset of a table or struct lies in the metadata; None where it is absent."""
        return self.places[id(table)][1].get(field)


def reseal(pages, data):
    """The bytes with every digest made anew that a file of this form has: of segments, of the base, of header and metadata."""
    data = seal(data)
    try:
        reader = Reader(pages, data, ("segments", "base", "fingerprint"))
        content = bytearray(reader.data)
        for segment in reader.root["segments"]:
            if segment["offset"] + segment["size"] <= len(data):
                place = reader.at(segment, "hash")
                content[place:place + 32] = hashlib.sha256(data[segment["offset"]:segment["offset"] + segment["size"]]).digest()
        if reader.kind == "Model":
            place = reader.at(reader.root, "fingerprint")
            content[place:place + 32] = fingerprint(reader.root)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, struct.error, RecursionError, MemoryError):
        return data  # no longer a file of this form: the header's digest is all that can be made
    return data if content == reader.data else replace_metadata(data, content)  # another frame of the same content is another file


def fingerprint(model):
    digest = hashlib.sha256()
    for tensor in model["base"]:
        digest.update(tensor["name"].encode() + b"\0" + struct.pack("<I", len(tensor["shape"])))
        digest.update(struct.pack(f"<{len(tensor['shape'])}Q", *tensor["shape"]) + tensor["hash"]["bytes"])
    return digest.digest()
