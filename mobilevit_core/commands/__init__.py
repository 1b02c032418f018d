"""What the commands do, as functions that Python programs can call too."""
