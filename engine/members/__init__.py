"""Members of the blend: models that are fitted on rows and predict log price."""
