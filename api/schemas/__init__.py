"""What requests and answers are made of, a module per noun."""
