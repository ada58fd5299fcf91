"""What runs in the process that has Keras: one cell, one backend, one device."""
