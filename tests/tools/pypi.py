"""Packages of PyPI that a test compares with: fetched once into a folder of the build, only where they are missing."""
import importlib
import pathlib
import subprocess
import sys


def packages(folder, *requirements):
    """Makes 'name==version' importable. Without dependencies: name those as well."""
    folder = pathlib.Path(folder)
    sys.path.insert(0, str(folder))
    missing = []
    for requirement in requirements:
        name, version = requirement.split("==")
        if not (folder / f"{name}-{version}.dist-info").is_dir():
            missing.append(requirement)
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore",
                        "--no-deps", "--only-binary", ":all:", "--upgrade", "--target", folder, *missing], check=True)
        importlib.invalidate_caches()
