"""The subcommands of `scoreguard`, one file each, imported when one is run."""
