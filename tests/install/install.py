#!/usr/bin/env python3
"""What `cmake --install` gives: install.py --build FOLDER --cmake PROGRAM --version X.Y.Z --work FOLDER [--lorac PROGRAM]

Installs a build, moves the result elsewhere, and builds examples/app against it as C, once with CMake's package and once with
pkg-config; all programs stay in the work folder for example_app.py. Versions that do not fit are refused, the headers compile alone in
every language version that they name, and the installed library (and lorac, where it was built) runs from where it now is."""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
import harness

WARNINGS = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
RUNTIME = {"include/lorac/lorac.h", "include/lorac/lorac.hpp", "cmake/Lorac/LoracConfig.cmake", "cmake/Lorac/LoracConfigVersion.cmake",
           "cmake/Lorac/LoracTargets.cmake", "pkgconfig/lorac.pc"}


class Install(harness.Checks):
    def __init__(self, arguments):
        self.arguments, self.work = arguments, pathlib.Path(arguments.work)
        super().__init__()
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        # Nothing of the caller's may help: neither paths to libraries nor to packages.
        drop = {"LD_LIBRARY_PATH", "PKG_CONFIG_PATH", "CMAKE_PREFIX_PATH", "CPATH", "LIBRARY_PATH", "CFLAGS", "CXXFLAGS", "LDFLAGS"}
        self.environment = {key: value for key, value in os.environ.items() if key not in drop}

    def call(self, *command, **environment):
        return subprocess.run([str(word) for word in command], capture_output=True, text=True, encoding="utf-8",
                              env={**self.environment, **environment}, timeout=280, cwd=self.work)

    def ok(self, *command, **environment):
        result = self.call(*command, **environment)
        self.expect(result.returncode == 0, f"{' '.join(map(str, command))}: exit {result.returncode}: {result.stdout}{result.stderr}")
        return result.stdout

    def install(self):
        """Component by component, so that each is seen to bring its own files alone; then moved."""
        first, self.prefix = self.work / "first", self.work / "moved here"
        install = [self.arguments.cmake, "--install", self.arguments.build, "--prefix", first, "--component"]
        self.ok(*install, "runtime")
        found = {str(path.relative_to(first)) for path in first.rglob("*") if not path.is_dir()}
        libraries = [path for path in found if path.endswith("/liblorac_runtime.so")]
        self.expect(len(libraries) == 1, f"not one liblorac_runtime.so in {sorted(found)}")
        self.libdir = str(pathlib.Path(libraries[0]).parent)
        names = {"liblorac_runtime.so", "liblorac_runtime.so.1", f"liblorac_runtime.so.1.{self.arguments.version}"} | RUNTIME
        want = {name if name.startswith("include/") else f"{self.libdir}/{name}" for name in names}
        # Beside LoracTargets.cmake stands one file for the build type.
        found = {path for path in found if not re.search(r"/LoracTargets-\w+\.cmake$", path)}
        self.expect(found == want, f"component runtime gave {sorted(found ^ want)} too much or too little")
        if self.arguments.lorac:
            self.ok(*install, "compiler")
            more = {str(path.relative_to(first)) for path in first.rglob("*") if not path.is_dir()} - want
            more = {path for path in more if "/LoracTargets-" not in path}
            self.expect(more == {"bin/lorac"}, f"component compiler gave {sorted(more)}")
        first.rename(self.prefix)
        for path in self.prefix.rglob("*"):
            if path.suffix in {".cmake", ".pc", ".h", ".hpp"}:
                text = path.read_text(encoding="utf-8")
                for place in (str(first), self.arguments.build, str(harness.ROOT)):
                    self.expect(place not in text, f"{path.name} holds the path {place}")
        if self.arguments.lorac:
            self.expect(self.ok(self.prefix / "bin/lorac", "--version") == f"lorac {self.arguments.version}\n",
                        "the installed lorac gives another version")

    def package(self, request):
        """Configures a project of one find_package; what CMake said, and whether it held."""
        source = self.work / "package"
        source.mkdir(exist_ok=True)
        (source / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.25)\nproject(Find LANGUAGES NONE)\n"
                                               f"find_package(Lorac {request} REQUIRED)\n"
                                               "get_target_property(type Lorac::runtime TYPE)\n"
                                               'message(STATUS "found ${Lorac_VERSION} ${type}")\n')
        result = self.call(self.arguments.cmake, "--fresh", "-S", source, "-B", source / "build", f"-DCMAKE_PREFIX_PATH={self.prefix}")
        return result.returncode == 0, result.stdout + result.stderr

    def packages(self):
        version = self.arguments.version
        major, minor, _ = map(int, version.split("."))
        for request in ("", f"{major}.{minor}", f"{version} EXACT", f"{major}.{minor} COMPONENTS runtime"):
            held, said = self.package(request)
            self.expect(held and f"found {version} SHARED_LIBRARY" in said, f"find_package(Lorac {request}): {said}")
        for request in (f"{major + 1}.0", f"{major}.{minor + 1}"):
            held, said = self.package(request)
            self.expect(not held and f"version: {version}" in said, f"find_package(Lorac {request}) is not refused for its version: {said}")
        held, said = self.package(f"{version} COMPONENTS compiler")
        self.expect(not held and "no component compiler; it has: runtime" in said, f"a component that the package lacks is not refused: {said}")

    def applications(self):
        """examples/app, as C and without a C++ compiler, both ways."""
        source, build = harness.ROOT / "examples/app", self.work / "cmake"
        flags = " ".join(WARNINGS)
        self.ok(self.arguments.cmake, "-S", source, "-B", build, f"-DCMAKE_PREFIX_PATH={self.prefix}", f"-DCMAKE_C_FLAGS={flags}",
                CXX="/nonexistent")
        self.ok(self.arguments.cmake, "--build", build, "--verbose")
        pkg_config = ["pkg-config", "lorac"]
        where = {"PKG_CONFIG_PATH": str(self.prefix / self.libdir / "pkgconfig")}
        self.expect(self.ok(*pkg_config, "--modversion", **where).strip() == self.arguments.version, "lorac.pc gives another version")
        self.expect(self.call(*pkg_config, "--atleast-version=99", **where).returncode != 0, "lorac.pc takes any version")
        # eval, as a Makefile's shell would read it: pkg-config escapes the space of the path.
        self.ok("bash", "-c", f'eval cc -std=c11 {flags} -o pkg-config-app "\'$1\'" "$(pkg-config --cflags --libs lorac)" '
                              '"\'-Wl,-rpath,$2\'"', "bash", source / "main.c", self.prefix / self.libdir, **where)
        for app in (build / "app", self.work / "pkg-config-app"):
            needed = re.findall(r"\(NEEDED\).*\[([^]]+)\]", self.ok("readelf", "-d", app))
            self.expect(sorted(needed) == ["libc.so.6", "liblorac_runtime.so.1"], f"{app} needs {needed}")
            loaded = re.search(r"liblorac_runtime\.so\.1 => (.*) \(", self.ok("ldd", app))
            self.expect(loaded and loaded.group(1).startswith(str(self.prefix)), f"{app} loads {loaded and loaded.group(1)}")
            usage = self.call(app)
            self.expect(usage.returncode == 2 and usage.stderr.startswith("usage: app MODEL.lorac") and not usage.stdout, f"usage: {usage}")
            # The library itself says nothing: all that appears is the program's line.
            missing = self.call(app, "missing.lorac", "Why?")
            self.expect(missing.returncode == 1 and missing.stdout == "" and
                        re.fullmatch(r"app: NOT_FOUND: missing\.lorac: [^\n]+\n", missing.stderr), f"a missing model: {missing}")

    def headers(self):
        for compiler, language, standards in (("cc", "c", ("c99", "c11", "c17")), ("c++", "c++", ("c++11", "c++17", "c++20"))):
            for standard in standards:
                for header in ("lorac.h", "lorac.hpp"):
                    if header == "lorac.h" or standard in ("c++17", "c++20"):
                        # From the first line on: a header may lean on nothing that stands before it.
                        (self.work / "alone").write_text(f'#include "lorac/{header}"\n#include "lorac/{header}"\n')
                        self.ok(compiler, "-x", language, f"-std={standard}", *WARNINGS, f"-I{self.prefix}/include", "-fsyntax-only", "alone")
        wrapper = self.work / "wrapper"
        self.ok("c++", "-std=c++17", *WARNINGS, f"-I{self.prefix}/include", harness.ROOT / "tests/install/wrapper.cpp", "-o", wrapper,
                f"-L{self.prefix}/{self.libdir}", "-llorac_runtime", f"-Wl,-rpath,{self.prefix}/{self.libdir}")
        said = self.ok(wrapper)
        self.expect(said.startswith(f"{self.arguments.version} NOT_FOUND: missing.lorac: "), f"the program in C++ said: {said}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ("--build", "--cmake", "--version", "--work"):
        parser.add_argument(option, required=True)
    parser.add_argument("--lorac")
    test = Install(parser.parse_args())
    test.install()
    test.packages()
    test.applications()
    test.headers()
    test.finish()


main()
