"""The `lever` command, one file a group of commands."""
