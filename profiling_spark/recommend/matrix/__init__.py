"""Arrays and sparse matrices: blocks of customers, item-item products, scores and their best."""
