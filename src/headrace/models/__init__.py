"""The model folder: the only thing that passes between import and serving."""
