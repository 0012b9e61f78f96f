"""Tables as property files: which rows and seeds, run in order, resumed, and written down as far as they are done."""
