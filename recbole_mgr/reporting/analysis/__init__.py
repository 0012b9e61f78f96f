"""The analyses of the MGR paper (arXiv 2503.23333) on finished runs of one table."""
