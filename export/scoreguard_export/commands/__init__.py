"""The subcommands of scoreguard-export, one file each."""
