"""decaseg: trains, judges, shows and deploys 3D U-Nets on Medical Segmentation Decathlon data."""

__version__ = "0.1.0"
