"""What can be tried by hand, without a session: convolution, one-hot, the data, a prediction."""
