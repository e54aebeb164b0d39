"""What keeps a lab: its one file, the coordinator brought in line with it, units, pipelines, the doctor."""
