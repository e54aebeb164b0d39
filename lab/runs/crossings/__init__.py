"""The experiments on sharing paths: one module a way to share, each gives `lab.sharing`'s evidence."""
