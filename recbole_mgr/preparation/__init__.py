"""From anyone's raw data to atomic files: read, filter, gather pictures, write (``recbole-mgr prepare``)."""
