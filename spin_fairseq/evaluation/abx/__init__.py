"""ABX discriminability of phones, within and across speakers."""
