// Nothing: its target holds the precompiled MLIR headers that the compiler's libraries share.
