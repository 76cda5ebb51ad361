# The suite of .mlir files: dialects (round trip and refusals) and passes.
import os

import lit.formats

config.name = "lorac"
config.test_format = lit.formats.ShTest(execute_external=False)
config.test_source_root = os.path.dirname(__file__)
config.suffixes = [".mlir"]
config.environment["PATH"] = os.pathsep.join(
    [config.lorac_tools, config.filecheck_folder, config.environment.get("PATH", "")]
)
