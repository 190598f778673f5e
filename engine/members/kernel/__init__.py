"""Kernel ridge regression, for all folds at once: the similarity, the sums that leave folds out, and the member."""
