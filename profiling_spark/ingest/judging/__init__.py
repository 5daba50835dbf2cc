"""What one row states by itself: its canonical columns, and the rules that it breaks."""
