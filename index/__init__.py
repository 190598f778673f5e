"""Items, their vectors and their neighbours: catalogues, photographs, encoders, search and storage; no price models."""
