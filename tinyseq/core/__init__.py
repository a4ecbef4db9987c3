"""What an operation is, which interpreter runs it, and the rules for shapes and dtypes."""
