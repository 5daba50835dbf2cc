"""What else is made of the same histories: audiences of items, bundles."""
