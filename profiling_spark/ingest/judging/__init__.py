"""What a row says by itself: its canonical columns, and the rules that it breaks."""
