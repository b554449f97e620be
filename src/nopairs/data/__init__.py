"""Reading, writing, tiling and indexing images, and the dataset catalogue."""
