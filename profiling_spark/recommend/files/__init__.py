"""Any engine on any interaction files: what evaluate_recommender runs."""
