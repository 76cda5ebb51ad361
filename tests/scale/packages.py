"""numpy: the interpreter's own, else one that pip puts into .cache/."""
import importlib
import pathlib
import subprocess
import sys

try:
    import numpy
except ImportError:
    folder = pathlib.Path(__file__).resolve().parent.parent.parent / ".cache" / f"python-{sys.version_info[0]}.{sys.version_info[1]}"
    sys.path.insert(0, str(folder))
    try:
        import numpy
    except ImportError:
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), "numpy"], check=True)
        importlib.invalidate_caches()  # the folder was not there when its path was first looked at
        import numpy

__all__ = ["numpy"]
