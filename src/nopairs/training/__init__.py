"""The training loop that every learned method uses."""
