"""Pages to look at: a data set, its semantic IDs, a comparison and single users, as static HTML with pictures."""
