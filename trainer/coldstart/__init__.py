"""Makes embeddings for items that came after training, from their attributes."""
