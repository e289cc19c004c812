"""What must survive a restart and is the same for all replicas: keys, who changed what, and what is done once."""
