"""What must stand before Spark starts: Java, the Delta jars, the driver's options. Standard library only."""
