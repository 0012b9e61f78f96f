"""Several processes that do one command together; knows no data, model or RecBole."""
