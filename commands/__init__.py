"""The commands of `price`: what each takes, its one call into the engine, and what of the result is shown."""
