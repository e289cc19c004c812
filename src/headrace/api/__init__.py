"""The front doors. They only convert."""
