"""The members combined: out-of-fold predictions, blend, stack, correction, interval."""
