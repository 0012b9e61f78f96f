"""Pages and figures about runs, and the papers' analyses."""
