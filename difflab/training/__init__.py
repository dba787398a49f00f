"""The one torch loop, its schedules, and the devices that it runs on; torch enters at difflab/training."""
