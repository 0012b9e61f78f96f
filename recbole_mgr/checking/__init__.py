"""Reading a data folder as a user would before training: what is there, what is wrong, what each model can use."""
