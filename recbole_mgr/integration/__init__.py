"""Everything that touches RecBole's insides: compatibility, repairs, hooks, data set, trainers, resume, checkpoints."""

import recbole  # noqa: F401  # first of all: it runs install(), which imports what stands in this folder
