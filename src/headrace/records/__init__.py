"""What must survive a restart and is the same for all replicas: keys, and who changed what."""
