"""The members combined: out-of-fold predictions, blend, stacker, correction, interval."""
