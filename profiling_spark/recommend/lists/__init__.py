"""From scores to lists: the ladder of steps, policy, reasons."""
