"""What an assistant may ask of a server, and where it is allowed to, change: tools over the Model Context Protocol."""
