"""Pictures as a few discrete codes each, and back: what UniMP generates pictures with."""
