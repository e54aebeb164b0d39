"""What every room of the house uses: words, errors, YAML with line numbers, folders, processes, progress."""
