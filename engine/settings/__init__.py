"""Settings of a build and of a fine-tuning, and named ones."""
