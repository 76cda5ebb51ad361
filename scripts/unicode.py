#!/usr/bin/env python3
"""Writes runtime/text/UnicodeTables.cpp from the Unicode database that Python has: unicode.py

Canonical decompositions, combining classes and case mappings, for normal form C and for the case filters of chat templates. Run it to
move to another version of Unicode; the file says which one it holds."""
import os
import sys
import unicodedata

LAST = 0x110000
HANGUL = range(0xAC00, 0xAC00 + 11172)  # computed, not looked up


def characters():
    return (code for code in range(LAST) if not 0xD800 <= code < 0xE000)


def decompositions():
    """(code, first, second or 0, whether the pair composes again), of one step each."""
    for code in characters():
        text = unicodedata.decomposition(chr(code))
        if not text or text.startswith("<") or code in HANGUL:
            continue
        parts = [int(part, 16) for part in text.split()]
        pair = len(parts) == 2
        composes = pair and unicodedata.normalize("NFC", chr(parts[0]) + chr(parts[1])) == chr(code)
        yield code, parts[0], parts[1] if pair else 0, composes


def class_ranges():
    ranges = []
    for code in characters():
        value = unicodedata.combining(chr(code))
        if not value:
            continue
        if ranges and ranges[-1][1] == code - 1 and ranges[-1][2] == value:
            ranges[-1][1] = code
        else:
            ranges.append([code, code, value])
    return ranges


def case_ranges(change):
    """(first, last, step, delta) where one character becomes one other, and (code, its characters) where it becomes several."""
    ranges, several = [], []
    for code in characters():
        text = change(chr(code))
        if text == chr(code):
            continue
        if len(text) > 1:
            several.append((code, [ord(c) for c in text]))
            continue
        delta = ord(text) - code
        last = ranges[-1] if ranges else None
        if last and last[3] == delta and (code - last[1] == last[2] or (last[0] == last[1] and code - last[1] <= 2)):
            last[2] = code - last[1]
            last[1] = code
        else:
            ranges.append([code, code, 1, delta])
    return ranges, several


def rows(values, width=130):
    line, lines = "   ", []
    for value in values:
        if len(line) + len(value) + 2 > width:
            lines.append(line)
            line = "   "
        line += " " + value + ","
    return "\n".join(lines + [line])


def main():
    out = [f"""//===- UnicodeTables.cpp - Unicode {unicodedata.unidata_version}, written by scripts/unicode.py ------------------===//
// clang-format off
#include "runtime/text/UnicodeTables.h"

namespace lorac::unicode {{
"""]

    def table(kind, name, values):
        values = list(values)
        out.append(f"static constexpr {kind} {name}Rows[] = {{\n{rows(values)}\n}};\nconst std::span<const {kind}> {name} = {name}Rows;\n")

    table("Decomposition", "kDecompositions",
          (f"{{{c:#x},{a:#x},{b:#x},{int(again)}}}" for c, a, b, again in decompositions()))
    table("ClassRange", "kClasses", (f"{{{a:#x},{b:#x},{value}}}" for a, b, value in class_ranges()))
    for name, change in (("Upper", str.upper), ("Lower", str.lower), ("Title", str.title)):
        ranges, several = case_ranges(change)
        table("CaseRange", f"k{name}", (f"{{{a:#x},{b:#x},{step},{delta}}}" for a, b, step, delta in ranges))
        table("CaseSeveral", f"k{name}Several",
              ("{%#x,{%s}}" % (c, ",".join(f"{x:#x}" for x in to + [0] * (3 - len(to)))) for c, to in several))
    out.append("} // namespace lorac::unicode\n")
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "runtime", "text", "UnicodeTables.cpp")
    with open(path, "w", encoding="ascii") as file:
        file.write("\n".join(out))


if __name__ == "__main__":
    sys.exit(main())
