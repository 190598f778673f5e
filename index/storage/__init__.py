"""An index on disk: generations, the manifest, the items table, copies of remote indexes."""
