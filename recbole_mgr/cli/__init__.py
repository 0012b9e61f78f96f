"""The subcommands of ``recbole-mgr``, one a file; each has ``main(arguments) -> exit status``."""
