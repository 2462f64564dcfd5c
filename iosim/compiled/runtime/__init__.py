"""The run-time library of the compiled engine, written in the raw language (iosim.compiled.raw)."""
