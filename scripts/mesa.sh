#!/usr/bin/env bash
# Runs a command on a newer Mesa than the machine's own: mesa.sh COMMAND...
# Unpacks the mesa-vulkan-drivers of Debian's backports, with the libraries that the machine lacks, into .cache/mesa-backports (once) and points
# Vulkan's loader at it. The machine's packages and package sources stay as they are: apt works on lists and a folder of its own.
set -euo pipefail
cache=$(cd "$(dirname "$0")/.." && pwd)/.cache # COMMAND runs where the caller is
folder=$cache/mesa-backports
icd=$folder/lvp_icd.json

fetch() {
  local uri
  work=$(mktemp -d -p "$cache")
  trap 'rm -rf "$work"' EXIT # for failures; at the end exec leaves no trap to run
  # The mirror that the machine's own sources name.
  uri=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Codename: bookworm' 'Component: main' | head -n 1)
  [[ -n $uri ]] || { echo "mesa.sh: apt knows no source for bookworm; run: apt-get update" >&2; exit 1; }
  mkdir -p "$work"/lists/partial "$work"/archives/partial "$work"/tree
  chmod -R a+rX "$work"
  local suite
  for suite in bookworm bookworm-updates bookworm-backports; do
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main" >>"$work/sources.list"
  done
  local own=(-o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$work/lists"
    -o "Dir::Cache::Archives=$work/archives" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root -o Debug::NoLocking=1)
  apt-get "${own[@]}" -qq update
  # What installing it would bring, downloaded only.
  apt-get "${own[@]}" -qq -y --no-install-recommends --download-only -t bookworm-backports install mesa-vulkan-drivers
  local package
  for package in "$work"/archives/*.deb; do dpkg-deb -x "$package" "$work/tree"; done
  dpkg-deb -f "$work"/archives/mesa-vulkan-drivers_*.deb Version >"$work/tree/version"
  local library
  library=$(cd "$work/tree" && find usr/lib -name libvulkan_lvp.so)
  printf '{"file_format_version": "1.0.0", "ICD": {"library_path": "%s", "api_version": "1.4.0"}}\n' "./$library" >"$work/tree/${icd##*/}"
  rm -rf "$folder"
  mv "$work/tree" "$folder"
  rm -rf "$work"
}

mkdir -p "$cache"
[[ -f $folder/version && -f $icd ]] || fetch
library=$(find "$folder/usr/lib" -name libvulkan_lvp.so)
export VK_DRIVER_FILES=$icd VK_ICD_FILENAMES=$icd LD_LIBRARY_PATH=${library%/*}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
exec "$@"
