"""An index over its life: built, added to, removed from, drifting."""
