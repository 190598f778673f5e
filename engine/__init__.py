"""Price of an item and its uncertainty: models, out-of-fold residuals, the neighbours' correction, intervals."""
