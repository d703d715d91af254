"""Loss curves of one's own: a small transformer on bytes under any schedule."""

from __future__ import annotations
