"""What is it worth, and how sure? Models, out-of-fold residuals, the neighbours' correction, intervals."""
