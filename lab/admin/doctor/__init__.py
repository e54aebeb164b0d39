"""What `lab doctor` looks at, step by step: this machine, the way to the coordinator, the lab behind it."""
