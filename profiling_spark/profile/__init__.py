"""One row a customer: features, tags, segment, scores and recommendations brought together."""
