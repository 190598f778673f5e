"""What is this item, and what is it like? Catalogues, photographs, encoders, vectors, neighbours."""
