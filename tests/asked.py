"""Tests that take long or need other programs run only where they are asked for."""

from __future__ import annotations

import os

import pytest

ASKED = os.environ.get("TERAPOSE_INTEGRATION") == "1"
"""Whether `make test-integration` has started them."""
only_if_asked = pytest.mark.skipif(not ASKED, reason="make test-integration")
