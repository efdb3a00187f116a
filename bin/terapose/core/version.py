"""The version, by itself: what needs it need not import the package's front."""

__version__ = "0.1.0"
