"""Everything that touches RecBole's insides: compatibility, repairs, hooks, data set, trainers, resume, checkpoints."""
