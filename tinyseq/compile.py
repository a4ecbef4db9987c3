"""`compile`: capture a function once, improve the program, and replay it; Tensor in, Tensor out."""
