"""What is counted and how it is told: metric families, cheap counters, one page for Prometheus."""
