"""What mode `tuned` puts in place of Keras's own: layers and loops. Runs in a worker."""
